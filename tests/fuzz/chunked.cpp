// Any split gives the same payload, end and failure; a slow reader of the grammar agrees about what is a
// whole body and what it holds; Beast reads what we accept the same way; what was decoded can be coded and
// decoded again.
#include "wire/chunked.hpp"

#include "property.hpp"
#include "wire/field.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <algorithm>
#include <optional>
#include <string>

using namespace gw;
using namespace gw::wire;

namespace {

struct decoded
{
    std::string payload;
    std::size_t consumed = 0;
    bool done = false;
    std::string problem;

    friend bool operator==(const decoded&, const decoded&) = default;
};

decoded decode(std::string_view input, std::size_t size)
{
    decoded out;
    chunk_decoder decoder{origin::client, {.max_extensions = 64, .max_trailers = 64}};
    in_blocks(input, size, [&](std::string_view rest) {
        while (!rest.empty() && !decoder.done()) {
            const result<chunk_decoder::step> step = decoder.feed(rest);
            if (!step) {
                out.problem = step.error().text;
                out.consumed = 0; // where in a block it fails is of no interest
                return false;
            }
            require(step->consumed > 0, "every call makes progress");
            out.payload += step->payload;
            out.consumed += step->consumed;
            rest.remove_prefix(step->consumed);
        }
        return !decoder.done();
    });
    out.done = decoder.done();
    return out;
}

constexpr std::size_t most = 64; // of extensions, of trailers

// The text up to CR LF, which is taken off; nullopt: neither is there.
std::optional<std::string_view> take_line(std::string_view& in)
{
    const std::size_t end = in.find('\r');
    if (end == std::string_view::npos || !in.substr(end).starts_with("\r\n")) {
        return std::nullopt;
    }
    const std::string_view line = in.substr(0, end);
    in.remove_prefix(end + 2);
    return line;
}

// RFC 9112 section 7.1 read line by line; nullopt: no whole chunked body stands at the start.
std::optional<decoded> read_slowly(std::string_view in)
{
    const std::size_t size = in.size();
    decoded out{.done = true};
    std::size_t extensions = 0;
    for (std::size_t left = 1; left != 0;) {
        const auto line = take_line(in);
        if (!line) {
            return std::nullopt;
        }
        const std::string_view digits = line->substr(0, line->find(';'));
        const std::string_view rest = line->substr(digits.size());
        const bool hex = digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
        const bool clean =
            std::ranges::all_of(rest, [](char c) { return c == '\t' || (c >= 0x20 && c < 0x7f); });
        extensions += rest.empty() ? 0 : rest.size() - 1;
        if (digits.empty() || digits.size() > 15 || !hex || !clean || extensions > most) {
            return std::nullopt;
        }
        left = std::stoull(std::string{digits}, nullptr, 16);
        if (left != 0) {
            if (in.size() < left || in.substr(left, 2) != "\r\n") {
                return std::nullopt;
            }
            out.payload += in.substr(0, left);
            in.remove_prefix(left + 2);
        }
    }
    std::size_t trailers = 0;
    while (true) {
        const auto line = take_line(in);
        if (!line) {
            return std::nullopt;
        }
        if (line->empty()) {
            out.consumed = size - in.size();
            return out;
        }
        const std::size_t colon = line->find(':');
        trailers += line->size() + 1;
        const bool clean = std::ranges::all_of(*line, [](char c) {
            return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
        });
        if (colon == std::string_view::npos || !valid_name(line->substr(0, colon)) || !clean ||
            trailers > most) {
            return std::nullopt;
        }
        for (const std::string_view bad : {"content-length", "transfer-encoding", "host"}) {
            if (same_name(line->substr(0, colon), bad)) {
                return std::nullopt;
            }
        }
    }
}

void check_beast(std::string_view body, const std::string& payload)
{
    namespace http = boost::beast::http;
    if (body.contains(';')) {
        return; // Beast parses extensions, which we only skip
    }
    std::string message = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    message += body;
    http::request_parser<http::string_body> parser;
    parser.eager(true);
    std::string_view rest = message;
    boost::beast::error_code problem;
    while (!parser.is_done() && !problem) {
        const std::size_t used = parser.put(boost::asio::buffer(rest), problem);
        require(problem || used != 0, "Beast goes on");
        rest.remove_prefix(used);
    }
    require(!problem && rest.empty(), "Beast accepts it and ends where we do");
    require(parser.get().body() == payload, "Beast reads the same payload");
}

} // namespace

GW_FUZZ(input)
{
    const decoded whole = decode(input, input.size());
    for (const std::size_t size : {1u, 2u, 3u, 7u, 16u}) {
        require(decode(input, size) == whole, "any split gives the same");
    }
    const std::optional<decoded> slow = read_slowly(input);
    require(slow.has_value() == whole.done, "the slow reader agrees about what is whole");
    if (!whole.done) {
        return;
    }
    require(*slow == whole, "the slow reader reads the same");
    check_beast(input.substr(0, whole.consumed), whole.payload);
    char digits[20];
    std::snprintf(digits, sizeof digits, "%zx\r\n", whole.payload.size());
    std::string again = whole.payload.empty() ? "" : digits + whole.payload + "\r\n";
    again += "0\r\n\r\n";
    const decoded second = decode(again, 5);
    require(
        second.done && second.payload == whole.payload && second.consumed == again.size(),
        "coded again it is the same"
    );
}
