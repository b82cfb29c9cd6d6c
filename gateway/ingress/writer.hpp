// Writes one answer to the client in the framing its head announced, and counts. A client that left or does
// not read is a failure `client_gone`; nothing is written after it. One per request.
#pragma once

#include "ingress/reply.hpp"
#include "message/failure.hpp"
#include "net/stream.hpp"
#include "net/task.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace gw::ingress {

class writer
{
public:
    writer(net::stream& to, std::chrono::milliseconds stall) : to_(to), stall_(stall) {}

    // The head goes out with the first bytes of the body, in one write. Until then another one may replace
    // it.
    void begin(const reply_head& head);
    [[nodiscard]] bool begun() const { return begun_; }
    // From now on a client that does not read is given up after this time.
    void stall(std::chrono::milliseconds limit) { stall_ = limit; }
    [[nodiscard]] net::task<lean<void>> write(std::string_view first, std::string_view second = {});
    // The last bytes; for a chunked body its end too.
    [[nodiscard]] net::task<lean<void>> finish(std::string_view first = {}, std::string_view second = {});

    [[nodiscard]] bool sent_head() const { return sent_head_; }
    [[nodiscard]] bool finished() const { return finished_; }
    [[nodiscard]] bool close_after() const { return close_; }
    [[nodiscard]] body_length framing() const { return as_; }
    [[nodiscard]] bool event_stream() const { return event_stream_; }
    [[nodiscard]] int status() const { return status_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
    [[nodiscard]] net::time_point first_byte() const { return first_byte_; }

private:
    [[nodiscard]] net::task<lean<void>> put(std::string_view first, std::string_view second, bool last);

    net::stream& to_;
    std::chrono::milliseconds stall_;
    std::string head_; // not sent yet
    body_length as_ = body_length::sized;
    bool event_stream_ = false;
    bool begun_ = false;
    bool sent_head_ = false;
    bool finished_ = false;
    bool close_ = false;
    bool broken_ = false; // a write ended in the middle of something
    int status_ = 0;
    std::uint64_t bytes_ = 0;
    net::time_point first_byte_{};
};

} // namespace gw::ingress
