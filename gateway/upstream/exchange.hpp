// One HTTP/1.1 exchange with an upstream over a leased connection: one gathered write for a small request, an
// upload that follows the client's body for a large one, the response head, then the body as views. Decides
// nothing about what an answer means. Owned by one attempt; used on its core's thread.
#pragma once

#include "message/body.hpp"
#include "message/boxed.hpp"
#include "message/failure.hpp"
#include "message/recycled.hpp"
#include "net/event.hpp"
#include "net/interrupt.hpp"
#include "net/task.hpp"
#include "upstream/plan_reader.hpp"
#include "upstream/pool.hpp"
#include "wire/chunked.hpp"
#include "wire/response_head.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gw::upstream {

struct exchange_limits
{
    std::optional<std::chrono::milliseconds> first_byte; // from the last byte sent to the response head
    std::chrono::milliseconds idle{60'000};              // silence inside the body; a peer that does not read
    wire::head_limits head = wire::response_limits;
    std::size_t most_interim = 8; // 1xx heads
};

class exchange : public recycled
{
public:
    exchange(lease over, net::interrupt& stop, exchange_limits limits);
    ~exchange();
    exchange(const exchange&) = delete;
    exchange& operator=(const exchange&) = delete;

    // Sends `head` (request line to blank line) and the plan's bytes. Bodies in memory are written when this
    // returns; a log is followed in the background while head() and next() may already run.
    //   errors   unavailable (the connection broke)
    [[nodiscard]] net::task<result<void>> send(std::string head, body_plan plan, source from);

    // The final response head; 1xx are swallowed. Views in it are valid until next() or close().
    //   errors   unavailable (closed, reset, not HTTP), timeout (first byte), or the interrupt's reason
    [[nodiscard]] net::task<result<const wire::response_head*>> head();

    // The next bytes of the body, valid until the next call; empty: the body ended cleanly.
    //   errors   unavailable (cut, bad chunk), timeout (idle), or the interrupt's reason
    [[nodiscard]] net::task<lean<std::string_view>> next();

    // Ends what runs in the background and gives the connection back, or closes it. REQUIRED before the
    // object goes.
    [[nodiscard]] net::task<void> close();

    [[nodiscard]] bool complete() const { return complete_; }   // the body was read to its end
    [[nodiscard]] bool uploading() const { return uploading_; } // the request's body is still wanted
    // A length or chunks tell where the body ends; else it is the end of the connection, and may be a cut.
    [[nodiscard]] bool delimited() const { return !until_close_; }
    [[nodiscard]] bool wrote_any() const { return wrote_any_; } // one byte of the request left
    [[nodiscard]] std::uint64_t bytes_sent() const { return bytes_sent_; }
    [[nodiscard]] std::uint64_t bytes_received() const { return bytes_received_; }

private:
    [[nodiscard]] net::task<void> upload();
    [[nodiscard]] net::task<void> end_upload();
    void let_go(); // of the connection
    [[nodiscard]] net::task<result<void>> put(std::string_view first, std::string_view second);
    [[nodiscard]] net::time_point silence() const;
    [[nodiscard]] std::unexpected<failure>
    broken(const net::error_code& ec, std::string_view while_doing) const;

    lease over_;
    net::interrupt& stop_;
    exchange_limits limits_;
    wire::response_head& head_; // the connection's: not to be looked at once that is given back
    std::optional<wire::chunk_decoder> chunks_;
    std::uint64_t left_ = 0;
    std::size_t give_ = 0; // bytes of the buffer that the last next() showed
    bool have_head_ = false;
    bool until_close_ = false; // the body ends where the connection does
    bool event_stream_ = false;
    bool complete_ = false;
    bool wrote_any_ = false;
    bool uploading_ = false;
    bool end_upload_ = false;
    bool upload_whole_ = true;
    boxed<failure> upload_failed_;
    net::event upload_done_;
    boxed<plan_reader> upload_;
    std::uint64_t bytes_sent_ = 0;
    std::uint64_t bytes_received_ = 0;
};

} // namespace gw::upstream
