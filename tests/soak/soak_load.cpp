// Load over every door, on kept-alive connections, each answer compared with what an honest upstream must
// say.
//
// usage: soak_load --port N [--NAME VALUE]...     a JSON summary on stdout at the end; exit 1: a foreign or
// malformed answer
//   --connections N    at once (default 16)
//   --rate N           offered a second, whatever comes back (latency counts from the moment it was due); 0
//   (default): each
//                      connection asks again as soon as it has its answer
//   --seconds N        how long (default 10); --requests N: so many instead
//   --doors A,B        of native, native_raw, path, chat, stream (default: all, in turns)
//   --models N         `soak/image-0`, `soak/chat-0` and so on, in turns (default 1)
//   --leave RATE       part of the requests whose client goes away at some point (default 0)
//   --points A,B       where: 0 in the middle of the upload, 1 before the answer, 2 after its head (default:
//   0,1,2)
//   --linger MS        how long it stays there first, at most (default 0)
//   --least N          bytes of a payload, at least (default 16); at most 4 KiB more
//   --big RATE         part of the payloads that is up to 1 MiB more (default 0)
//   --ca FILE          over TLS; FILE holds the authority of the gateway's certificate, which is verified
//   --name TEXT        begins each request id (default soak)
//   --out FILE         a line for each request: id door outcome status us_begun us_latency
// Outcomes: good; refused (a whole error answer); cut (the connection ended early); event (a stream did,
// after an error event); left (this client went away); FOREIGN (another answer than the expected one); BAD
// (no HTTP, no error in an error, no Retry-After in a 429 or 503, an end after an error event).
#include "wire.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>

namespace soak {
namespace {

using std::chrono::microseconds;

struct settings
{
    std::uint16_t port = 0;
    std::size_t connections = 16;
    double rate = 0;
    double seconds = 10;
    std::size_t requests = 0;
    std::size_t models = 1;
    double leave = 0;
    double big = 0;
    std::size_t least = 16;
    std::size_t linger = 0;
    std::vector<std::string> points{"0", "1", "2"};
    std::vector<std::string> doors{"native", "native_raw", "path", "chat", "stream"};
    std::string ca;
    std::string name = "soak";
    std::string out;

    static std::vector<std::string> split(const std::string& list)
    {
        std::vector<std::string> parts;
        for (std::size_t at = 0; at < list.size(); at += parts.back().size() + 1) {
            parts.push_back(list.substr(at, list.find(',', at) - at));
        }
        return parts;
    }

    bool set(std::string_view what, const std::string& value)
    {
        const auto real = [&value] { return std::strtod(value.c_str(), nullptr); };
        if (what == "port") {
            port = static_cast<std::uint16_t>(number(value));
        } else if (what == "connections") {
            connections = number(value);
        } else if (what == "rate") {
            rate = real();
        } else if (what == "seconds") {
            seconds = real();
        } else if (what == "requests") {
            requests = number(value);
        } else if (what == "models") {
            models = number(value);
        } else if (what == "leave") {
            leave = real();
        } else if (what == "big") {
            big = real();
        } else if (what == "ca") {
            ca = value;
        } else if (what == "name") {
            name = value;
        } else if (what == "out") {
            out = value;
        } else if (what == "least") {
            least = number(value);
        } else if (what == "linger") {
            linger = number(value);
        } else if (what == "points") {
            points = split(value);
        } else if (what == "doors") {
            doors = split(value);
        } else {
            return false;
        }
        return true;
    }
};

struct job
{
    std::size_t number = 0;
    std::int64_t due = 0;
};

struct outcome
{
    std::string_view what;
    int status = 0;
};

struct question
{
    std::string id;
    std::string door;
    std::string bytes;    // head and body
    std::size_t head = 0; // size of the head in them
    std::string mark;     // what the answer depends on
    int leaves = -1;      // 0: in mid body, 1: before the answer, 2: after its first bytes
};

class load
{
public:
    load(asio::io_context& io, settings how) : io_(io), how_(std::move(how)), pace_(io)
    {
        if (!how_.ca.empty()) {
            tls_.set_verify_mode(asio::ssl::verify_peer);
            tls_.set_verify_callback(asio::ssl::host_name_verification("127.0.0.1"));
            tls_.load_verify_file(how_.ca);
        }
        if (!how_.out.empty()) {
            out_ = std::fopen(how_.out.c_str(), "w");
        }
    }
    ~load()
    {
        if (out_ != nullptr) {
            std::fclose(out_);
        }
    }
    load(const load&) = delete;
    load& operator=(const load&) = delete;

    void start()
    {
        began_ = now_us();
        for (std::size_t i = 0; i < how_.connections; ++i) {
            asio::co_spawn(io_, run(), asio::detached);
        }
        if (how_.rate > 0) {
            asio::co_spawn(io_, offer(), asio::detached);
        }
    }

    // The summary; true: every answer was its own.
    bool summary() const
    {
        const double took = static_cast<double>(last_ - began_) / 1e6;
        std::printf(
            R"({"seconds":%.2f,"asked":%zu,"good_per_second":%.1f)", took, asked_, rate_of("good", took)
        );
        for (const auto& [what, times] : latencies_) {
            std::printf(R"(,"%s":{"count":%zu)", std::string(what).c_str(), times.size());
            std::vector<std::int64_t> sorted = times;
            std::ranges::sort(sorted);
            for (const double part : {0.5, 0.9, 0.99, 1.0}) {
                const auto at =
                    static_cast<std::size_t>(std::ceil(part * static_cast<double>(sorted.size())));
                std::printf(
                    R"(,"p%g_ms":%.2f)",
                    part * 100,
                    static_cast<double>(sorted[std::max<std::size_t>(at, 1) - 1]) / 1e3
                );
            }
            std::printf("}");
        }
        std::printf(R"(,"statuses":{)");
        const char* comma = "";
        for (const auto& [status, times] : statuses_) {
            std::printf(R"(%s"%d":%zu)", comma, status, times);
            comma = ",";
        }
        std::printf("}}\n");
        return !latencies_.contains("FOREIGN") && !latencies_.contains("BAD");
    }

private:
    // --- pace ---

    bool over() const
    {
        return how_.requests != 0 ? asked_ >= how_.requests
                                  : static_cast<double>(now_us() - began_) >= how_.seconds * 1e6;
    }

    asio::awaitable<void> offer()
    {
        for (std::size_t i = 0; !ended_; ++i) {
            const std::int64_t due =
                began_ + static_cast<std::int64_t>(static_cast<double>(i) * 1e6 / how_.rate);
            if (due > now_us()) {
                pace_.expires_at(clock::time_point(microseconds(due)));
                co_await pace_.async_wait(use);
            }
            if (over()) {
                break;
            }
            due_.push_back({.number = asked_++, .due = due});
            if (!idle_.empty()) {
                idle_.back()->cancel();
                idle_.pop_back();
            }
        }
        ended_ = true;
        for (asio::steady_timer* each : idle_) {
            each->cancel();
        }
        idle_.clear();
    }

    asio::awaitable<std::optional<job>> next()
    {
        if (how_.rate <= 0) {
            if (over()) {
                co_return std::nullopt;
            }
            co_return job{.number = asked_++, .due = now_us()};
        }
        while (due_.empty() && !ended_) {
            asio::steady_timer mine(io_, asio::steady_timer::time_point::max());
            idle_.push_back(&mine);
            co_await mine.async_wait(use);
        }
        if (due_.empty()) {
            co_return std::nullopt;
        }
        const job first = due_.front();
        due_.pop_front();
        co_return first;
    }

    // --- one connection ---

    asio::awaitable<void> run()
    {
        std::optional<peer> to;
        while (const std::optional<job> mine = co_await next()) {
            const question asked = make(mine->number);
            const outcome came = co_await ask(to, asked);
            const std::int64_t now = now_us();
            latencies_[came.what].push_back(now - mine->due);
            ++statuses_[came.status];
            last_ = std::max(last_, now);
            if (out_ != nullptr) {
                std::fprintf(
                    out_,
                    "%s %s %s %d %lld %lld\n",
                    asked.id.c_str(),
                    asked.door.c_str(),
                    std::string(came.what).c_str(),
                    came.status,
                    static_cast<long long>(mine->due),
                    static_cast<long long>(now - mine->due)
                );
            }
            if (came.what == "FOREIGN" || came.what == "BAD") {
                std::fprintf(stderr, "%s: %s\n", asked.id.c_str(), strange_.substr(0, 400).c_str());
            }
        }
    }

    asio::awaitable<outcome> ask(std::optional<peer>& to, const question& asked)
    {
        if (!to) {
            tcp::socket made(io_);
            const auto [ec] =
                co_await made.async_connect({asio::ip::make_address("127.0.0.1"), how_.port}, use);
            if (ec) {
                asio::steady_timer pause(io_, std::chrono::milliseconds(10)); // nobody listens: do not spin
                co_await pause.async_wait(use);
                co_return outcome{.what = "no_connection"};
            }
            error_code ignored;
            made.set_option(tcp::no_delay(true), ignored);
            to.emplace(peer{std::move(made), {}});
            if (!how_.ca.empty()) {
                to->secure = std::make_unique<asio::ssl::stream<tcp::socket&>>(to->socket, tls_);
                const auto [failed] =
                    co_await to->secure->async_handshake(asio::ssl::stream_base::client, use);
                if (failed) {
                    strange_ = failed.message();
                    to.reset();
                    co_return outcome{.what = "no_connection"};
                }
            }
        }

        std::string_view out = asked.bytes;
        if (asked.leaves == 0) {
            out = out.substr(0, asked.head + (out.size() - asked.head) / 2);
        }
        const bool sent = co_await to->send(out);
        if (asked.leaves == 0 || asked.leaves == 1) {
            co_await leave(to);
            co_return outcome{.what = "left"};
        }
        (void)sent; // it may have answered early: that is read below

        const std::string head = co_await to->head();
        if (head.empty()) {
            const bool something = !to->held.empty();
            strange_ = to->held;
            to.reset();
            co_return outcome{.what = something ? "BAD" : "cut"};
        }
        const int status = static_cast<int>(number(std::string_view(head).substr(9, 3)));
        if (asked.leaves == 2) {
            co_await leave(to);
            co_return outcome{.what = "left", .status = status};
        }
        std::string body;
        const bool whole = co_await read(*to, head, body);
        const outcome came{.what = meaning(asked, head, body, status, whole), .status = status};
        if (!whole || field(head, "connection") == "close") {
            to.reset();
        }
        co_return came;
    }

    // By a reset or by a plain end, in turns.
    asio::awaitable<void> leave(std::optional<peer>& to)
    {
        if (how_.linger != 0) {
            asio::steady_timer pause(io_, std::chrono::milliseconds(random_() % how_.linger));
            co_await pause.async_wait(use);
        }
        if (random_() % 2 == 0) {
            to->reset();
        }
        to.reset();
    }

    static asio::awaitable<bool> read(peer& from, const std::string& head, std::string& body)
    {
        const std::string_view length = field(head, "content-length");
        if (!length.empty()) {
            const std::size_t size = number(length);
            while (from.held.size() < size) {
                const error_code ec = co_await from.more();
                if (ec) {
                    co_return false;
                }
            }
            body = from.held.substr(0, size);
            from.held.erase(0, size);
            co_return true;
        }
        chunk_reader chunks;
        while (true) {
            chunks.take(from.held, body);
            if (chunks.done || chunks.bad) {
                co_return chunks.done;
            }
            const error_code ec = co_await from.more();
            if (ec) {
                co_return false;
            }
        }
    }

    std::string_view
    meaning(const question& asked, const std::string& head, const std::string& body, int status, bool whole)
    {
        strange_ = head + body;
        if (field(head, "x-request-id") != asked.id) {
            return "FOREIGN";
        }
        if (status != 200) {
            // Who may come back is told when.
            const bool lacks = (status == 429 || status == 503) && field(head, "retry-after").empty();
            return !whole ? "cut" : body.find("\"error\"") == std::string::npos || lacks ? "BAD" : "refused";
        }
        std::string expected;
        if (asked.door == "stream") {
            for (const std::string& event : chat_events(asked.mark)) {
                expected += event;
            }
            // What came before an error event must be this client's own, too; and no end may follow on it.
            const std::size_t error = body.find("data: {\"error\"");
            if (error != std::string::npos || !whole) {
                return !expected.starts_with(std::string_view(body).substr(0, error)) ? "FOREIGN"
                       : error == std::string::npos                                   ? "cut"
                       : whole                                                        ? "BAD"
                                                                                      : "event";
            }
            return body == expected ? "good" : "FOREIGN";
        }
        expected = asked.door == "chat" ? chat(asked.mark) : classification(asked.mark);
        return whole                        ? (body == expected ? "good" : "FOREIGN")
               : expected.starts_with(body) ? "cut"
                                            : "FOREIGN";
    }

    // --- what is asked ---

    question make(std::size_t number)
    {
        question made;
        made.id = how_.name + "-" + std::to_string(number);
        made.door = how_.doors[number % how_.doors.size()];
        const std::string model = std::to_string(number / how_.doors.size() % how_.models);
        const bool big = std::bernoulli_distribution(how_.big)(random_);
        const std::size_t size = how_.least + random_() % (big ? 1U << 20U : 4096U);
        const bool text = made.door == "chat" || made.door == "stream";
        std::string payload = text ? "" : "\x89PNG\r\n\x1a\n";
        while (payload.size() < size) {
            const std::uint64_t bits = random_();
            payload += text ? std::to_string(bits)
                            : std::string(reinterpret_cast<const char*>(&bits), sizeof bits); // NOLINT
        }
        made.mark = mark(payload, made.id);

        std::string target = "/v1/inference";
        std::string type = "application/json";
        std::string body;
        if (text) {
            target = "/v1/chat/completions";
            body = R"({"model":"soak/chat-)" + model + R"(",)" +
                   (made.door == "stream" ? R"("stream":true,)" : "") +
                   R"("messages":[{"role":"user","content":")" + payload + R"("}]})";
        } else if (made.door == "native") {
            body = R"({"model":"soak/image-)" + model + R"(","inputs":{"base64":")" + base64_of(payload) +
                   R"(","media_type":"image/png"}})";
        } else {
            target =
                made.door == "path" ? "/models/soak/image-" + model : target + "?model=soak/image-" + model;
            type = "image/png";
            body = std::move(payload);
        }
        made.bytes = "POST " + target + " HTTP/1.1\r\nhost: 127.0.0.1\r\nx-request-id: " + made.id +
                     "\r\ncontent-type: " + type + "\r\ncontent-length: " + std::to_string(body.size()) +
                     "\r\n\r\n";
        made.head = made.bytes.size();
        made.bytes += body;
        if (std::bernoulli_distribution(how_.leave)(random_)) {
            made.leaves = static_cast<int>(soak::number(how_.points[random_() % how_.points.size()]));
        }
        return made;
    }

    double rate_of(std::string_view what, double seconds) const
    {
        const auto found = latencies_.find(what);
        return found == latencies_.end() ? 0 : static_cast<double>(found->second.size()) / seconds;
    }

    asio::io_context& io_;
    settings how_;
    asio::ssl::context tls_{asio::ssl::context::tls_client};
    asio::steady_timer pace_;
    std::FILE* out_ = nullptr;
    std::int64_t began_ = 0;
    std::int64_t last_ = 0;
    std::size_t asked_ = 0;
    bool ended_ = false;
    std::deque<job> due_;
    std::vector<asio::steady_timer*> idle_;
    std::map<std::string_view, std::vector<std::int64_t>> latencies_; // by outcome
    std::map<int, std::size_t> statuses_;                             // 0: none came
    std::string strange_;
    std::mt19937_64 random_{std::random_device{}()};
};

} // namespace
} // namespace soak

int main(int count, char** values)
{
    using namespace soak;
    settings how;
    for (int i = 1; i < count; i += 2) {
        const std::string_view name = values[i];
        if (!name.starts_with("--") || i + 1 == count || !how.set(name.substr(2), values[i + 1])) {
            std::fprintf(
                stderr, "soak_load: what is %s? The head of tests/soak/soak_load.cpp tells\n", values[i]
            );
            return 2;
        }
    }
    asio::io_context io{1};
    load all(io, how);
    all.start();
    io.run();
    return all.summary() ? 0 : 1;
}
