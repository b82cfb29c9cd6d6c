#include "ingress/reply.hpp"

#include "net/clock.hpp"
#include "wire/retry.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace gw::ingress {
namespace {

void number(std::string& out, std::uint64_t value, int base = 10)
{
    std::array<char, 20> text;
    const auto done = std::to_chars(text.data(), text.data() + text.size(), value, base);
    out.append(text.data(), static_cast<std::size_t>(done.ptr - text.data()));
}

void line(std::string& out, std::string_view name, std::string_view value)
{
    out += name;
    out += value;
    out += "\r\n";
}

// The date's text, made once a second and thread.
std::string_view date()
{
    thread_local std::chrono::seconds last{-1};
    thread_local std::string text;
    const auto now = net::wall_clock::now();
    const auto second = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch());
    if (second != last) {
        last = second;
        text = wire::http_date(now);
    }
    return text;
}

} // namespace

std::string_view reason(int status)
{
    switch (status) {
    case 100:
        return "Continue";
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 402:
        return "Payment Required";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 417:
        return "Expectation Failed";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return status < 400 ? "OK" : "Error";
    }
}

void append(std::string& out, const reply_head& head)
{
    out += "HTTP/1.1 ";
    number(out, static_cast<std::uint64_t>(head.status));
    out += ' ';
    line(out, reason(head.status), "");
    line(out, "date: ", date());
    if (!head.content_type.empty()) {
        line(out, "content-type: ", head.content_type);
    }
    switch (head.as) {
    case body_length::sized:
        out += "content-length: ";
        number(out, head.length);
        out += "\r\n";
        break;
    case body_length::chunked:
        out += "transfer-encoding: chunked\r\n";
        break;
    case body_length::until_close:
        break;
    }
    if (head.event_stream) {
        out += "cache-control: no-cache\r\nx-accel-buffering: no\r\n";
    }
    if (!head.request_id.empty()) {
        line(out, "x-request-id: ", head.request_id);
    }
    if (!head.route.empty()) {
        line(out, "x-fourways-route: ", head.route);
    }
    if (!head.upstream.empty()) {
        line(out, "x-fourways-upstream: ", head.upstream);
    }
    if (head.retry_after) {
        out += "retry-after: ";
        number(out, static_cast<std::uint64_t>(std::max<std::int64_t>(0, head.retry_after->count())));
        out += "\r\n";
    }
    if (!head.allow.empty()) {
        line(out, "allow: ", head.allow);
    }
    if (head.close) {
        out += "connection: close\r\n";
    }
    out += "\r\n";
}

bool sane_request_id(std::string_view text)
{
    return !text.empty() && text.size() <= 128 && std::ranges::all_of(text, [](char c) {
        return c > ' ' && c < '\x7f' && c != '"' && c != '\\' && c != ',';
    });
}

void append_chunk_size(std::string& out, std::uint64_t size)
{
    number(out, size, 16);
    out += "\r\n";
}

} // namespace gw::ingress
