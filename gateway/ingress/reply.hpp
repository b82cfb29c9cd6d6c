// Heads of answers to the client, written as text. Pure.
#pragma once

#include "message/failure.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gw::ingress {

enum class body_length : std::uint8_t { sized, chunked, until_close };

struct reply_head
{
    int status = 200;
    std::string_view content_type;
    body_length as = body_length::sized;
    std::uint64_t length = 0;
    std::string_view request_id;
    std::string_view route;    // x-fourways-route; empty: not sent
    std::string_view upstream; // x-fourways-upstream; empty: not sent
    std::optional<std::chrono::seconds> retry_after;
    std::string_view allow; // of a 405
    bool close = false;
    bool event_stream = false; // no caching, no buffering on the way
};

void append(std::string& out, const reply_head& head);

[[nodiscard]] std::string_view reason(int status);

// A sane X-Request-Id: 1 to 128 visible ASCII bytes without quotes, backslashes and commas.
[[nodiscard]] bool sane_request_id(std::string_view text);

// Appends `SIZE\r\n` of a chunk; the chunk's bytes and "\r\n" follow.
void append_chunk_size(std::string& out, std::uint64_t size);

} // namespace gw::ingress
