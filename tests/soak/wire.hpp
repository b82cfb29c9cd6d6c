// What the load tool and its upstream share: HTTP read in the simplest way, and what an honest answer to a
// payload looks like. The upstream derives every answer from the payload and the request id that reached it,
// the load tool from what it sent: a byte lost, changed, or meant for somebody else on the way is another
// answer.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace soak {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using clock = std::chrono::steady_clock;
using boost::system::error_code;
inline constexpr auto use = asio::as_tuple(asio::use_awaitable);

// CLOCK_MONOTONIC in microseconds: the same for all processes of a machine.
inline std::int64_t now_us()
{
    return std::chrono::duration_cast<std::chrono::microseconds>(clock::now().time_since_epoch()).count();
}

inline std::uint64_t number(std::string_view text, int base = 10)
{
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value, base);
    return value;
}

// --- HTTP ---

// The value of a field in a head; empty: it is not there.
inline std::string_view field(std::string_view head, std::string_view name)
{
    const auto same = [](char wanted, char c) { return wanted == (c >= 'A' && c <= 'Z' ? c + 32 : c); };
    for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
        at += 2;
        const std::string_view line = head.substr(at, head.find("\r\n", at) - at);
        if (line.size() > name.size() && line[name.size()] == ':' &&
            std::equal(name.begin(), name.end(), line.begin(), same)) {
            const std::size_t value = line.find_first_not_of(' ', name.size() + 1);
            return value == std::string_view::npos ? std::string_view{} : line.substr(value);
        }
    }
    return {};
}

// A connection and what was read from it and not yet used.
struct peer
{
    tcp::socket socket;
    std::string held;
    std::unique_ptr<asio::ssl::stream<tcp::socket&>> secure =
        nullptr; // over TLS; from then on it may not move

    asio::awaitable<error_code> more()
    {
        std::array<char, 16384> bytes;
        if (secure) {
            const auto [ec, size] = co_await secure->async_read_some(asio::buffer(bytes), use);
            held.append(bytes.data(), size);
            co_return ec;
        }
        const auto [ec, size] = co_await socket.async_read_some(asio::buffer(bytes), use);
        held.append(bytes.data(), size);
        co_return ec;
    }
    asio::awaitable<bool> send(std::string_view bytes)
    {
        if (secure) {
            const auto [ec, size] = co_await asio::async_write(*secure, asio::buffer(bytes), use);
            co_return !ec;
        }
        const auto [ec, size] = co_await asio::async_write(socket, asio::buffer(bytes), use);
        co_return !ec;
    }
    // Takes a head with its blank line out of `held`; empty: the connection ended before.
    asio::awaitable<std::string> head()
    {
        while (true) {
            if (const std::size_t end = held.find("\r\n\r\n"); end != std::string::npos) {
                std::string taken = held.substr(0, end + 4);
                held.erase(0, end + 4);
                co_return taken;
            }
            const error_code ec = co_await more();
            if (ec) {
                co_return std::string{};
            }
        }
    }
    void reset() // RST, also for bytes that were not read
    {
        error_code ignored;
        socket.set_option(asio::socket_base::linger(true, 0), ignored);
        socket.close(ignored);
    }
};

// Undoes the chunked coding of what came so far.
struct chunk_reader
{
    bool done = false;
    bool bad = false;

    void take(std::string& held, std::string& body)
    {
        std::size_t at = 0;
        while (!done && !bad) {
            const std::size_t line = held.find("\r\n", at);
            if (line == std::string::npos) {
                break;
            }
            const std::size_t size = number(std::string_view(held).substr(at, line - at), 16);
            bad = line == at;
            if (held.size() < line + 2 + size + 2) {
                break;
            }
            body.append(held, line + 2, size);
            bad |= held.compare(line + 2 + size, 2, "\r\n") != 0;
            done = size == 0;
            at = line + 2 + size + 2;
        }
        held.erase(0, at);
    }
};

// --- what is asked and answered ---

inline std::string base64_of(std::string_view bytes)
{
    static constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        for (std::size_t j = 0; j < 3; ++j) {
            group = group << 8U | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
        }
        for (std::size_t j = 0; j < 4; ++j) {
            text += i + j <= bytes.size() ? digits[group >> (18 - 6 * j) & 63U] : '=';
        }
    }
    return text;
}

inline std::string from_base64(std::string_view text)
{
    std::string bytes;
    std::uint32_t group = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const int digit = c >= 'A' && c <= 'Z'   ? c - 'A'
                          : c >= 'a' && c <= 'z' ? c - 'a' + 26
                          : c >= '0' && c <= '9' ? c - '0' + 52
                          : c == '+'             ? 62
                          : c == '/'             ? 63
                                                 : -1;
        if (digit < 0) {
            break;
        }
        group = group << 6U | static_cast<std::uint32_t>(digit);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes += static_cast<char>(group >> bits & 255U);
        }
    }
    return bytes;
}

// FNV-1a over the payload, and the request's id.
inline std::string mark(std::string_view payload, std::string_view id)
{
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char c : payload) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    }
    std::array<char, 17> text{};
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
    return std::string(text.data(), 16) + "-" + std::string(id);
}

// One payload in 16 has a long answer.
inline std::size_t labels_for(const std::string& of)
{
    return of.front() == 'a' ? 500 : 1;
}

inline std::string classification(const std::string& of)
{
    std::string text = R"([{"label":")" + of + R"(","score":0.5})";
    for (std::size_t i = 1; i < labels_for(of); ++i) {
        text += R"(,{"label":"other )" + of + " " + std::to_string(i) + R"(","score":0.001})";
    }
    return text + "]";
}

// What a chat says, word for word.
inline std::vector<std::string> words_for(const std::string& of)
{
    std::vector<std::string> words{"heard"};
    for (std::size_t i = 0; i < labels_for(of) / 5 + 8; ++i) {
        words.push_back(" " + of.substr(0, 16) + std::to_string(i));
    }
    words.push_back(" for " + of);
    return words;
}

inline std::string chat(const std::string& of)
{
    std::string text;
    for (const std::string& word : words_for(of)) {
        text += word;
    }
    return R"({"id":"c","object":"chat.completion","created":1,"model":"soak","choices":[{"index":0,"message":)"
           R"({"role":"assistant","content":")" +
           text + R"("},"finish_reason":"stop"}]})";
}

inline std::string chat_event(std::string_view delta, std::string_view finish = "null")
{
    return R"(data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"soak","choices":[{"index":0,"delta":{)" +
           std::string(delta) + R"(},"finish_reason":)" + std::string(finish) + "}]}\n\n";
}

inline std::vector<std::string> chat_events(const std::string& of)
{
    std::vector<std::string> events{chat_event(R"("role":"assistant")")};
    for (const std::string& word : words_for(of)) {
        events.push_back(chat_event(R"("content":")" + word + "\""));
    }
    events.push_back(chat_event("", R"("stop")"));
    events.emplace_back("data: [DONE]\n\n");
    return events;
}

// The text between `before` and the next quotation mark: all the JSON that these two need to read.
inline std::string_view quoted(std::string_view text, std::string_view before)
{
    const std::size_t at = text.rfind(before);
    if (at == std::string_view::npos) {
        return {};
    }
    const std::size_t from = at + before.size();
    return text.substr(from, text.find('"', from) - from);
}

} // namespace soak
