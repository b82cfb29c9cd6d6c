// The client's body: how it is framed, whether it is JSON, where it is kept, and how it arrives. Small bodies
// stay in the connection's buffer and are never copied; larger ones go into a log that can be read again.
// JSON passes the scanner while it arrives. One per request, owned by its coroutine, which must await stop()
// before it goes.
#pragma once

#include "dialects/dialect.hpp"
#include "dispatch/dispatch.hpp"
#include "message/recycled.hpp"
#include "net/event.hpp"
#include "net/interrupt.hpp"
#include "net/reader.hpp"
#include "payload/replay.hpp"
#include "wire/chunked.hpp"
#include "wire/json_scan.hpp"
#include "wire/request_head.hpp"

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace gw::ingress {

// Is the client fast enough? In every stretch of `body_grace`, and a little more, it has to bring what
// `body_min_rate` asks for: what came fast at first is not to be spent byte by byte.
class pace
{
public:
    pace(const config::limits& by, net::time_point now) : by_(by), since_(now) {}

    [[nodiscard]] bool too_slow(net::time_point now, std::uint64_t bytes); // that have arrived in all
    void excuse(net::clock::duration pause) { since_ += pause; }           // it was ours

private:
    const config::limits& by_;
    net::time_point since_; // the stretch began, with `had_` bytes
    std::uint64_t had_ = 0;
};

class body final : public recycled, public dispatch::body_access
{
public:
    // `at`: bytes of the connection's buffer before the body (its head). REQUIRES they stay at the buffer's
    // front.
    body(
        dispatch::core& here,
        const config::settings& now,
        net::stream& wire,
        net::reader& in,
        net::interrupt& stop,
        std::size_t at
    );
    ~body() override;

    // Decides what the body is and starts to receive it. When this returns, JSON is whole and checked, and of
    // a binary body at least the first bytes are there. `head` is read before the first wait only.
    //   errors   body_too_large, invalid_json, overloaded, request_timeout, client_gone, bad_chunk
    [[nodiscard]] net::task<result<void>> begin(const wire::request_head& head, door at);

    // What a dialect parses. Valid as long as this lives. Of a body in the connection's buffer it is known at
    // once, of others it may have to be read back.
    [[nodiscard]] bool in_memory() const { return !log_; }
    [[nodiscard]] dialects::body_facts facts_in_memory();
    [[nodiscard]] net::task<result<dialects::body_facts>> facts();

    [[nodiscard]] upstream::source from() const override { return {.memory = memory_, .log = log_.get()}; }
    [[nodiscard]] bool whole() const override { return whole_; }
    [[nodiscard]] net::task<result<void>> wait_whole() override;
    [[nodiscard]] bool replayable() const override { return !log_ || log_->replayable(); }
    void drop_copy() override;

    std::function<void()> on_whole; // called when a body that was followed has become whole

    // Ends the receiving. After it, `unread()` tells whether the connection can go on.
    [[nodiscard]] net::task<void> stop();
    [[nodiscard]] bool unread() const { return !received_; }
    [[nodiscard]] std::uint64_t size() const { return log_ ? log_->size() : memory_.size(); }
    // Bytes of the connection's buffer that belong to this request and are done with now.
    [[nodiscard]] std::size_t in_buffer() const { return in_buffer_; }
    // The copy was lost for want of space.
    [[nodiscard]] bool without_copy() const { return log_ && !dropped_ && !log_->replayable(); }

private:
    [[nodiscard]] net::task<void> receive();
    [[nodiscard]] net::task<void> end_receiving();
    [[nodiscard]] result<bool> take(); // what lies in the buffer; true: the body is whole
    [[nodiscard]] result<void>
    accept(std::string_view payload, bool in_place); // in_place: it lies in the log's room()
    [[nodiscard]] net::task<result<void>> first_bytes(std::size_t want, pace& speed);
    [[nodiscard]] failure gone(const net::error_code& ec) const;
    void end(std::optional<failure> why);

    dispatch::core& here_;
    const config::settings& now_;
    net::stream& wire_;
    net::reader& in_;
    net::interrupt& stop_;
    std::size_t at_;

    wire::framing framing_ = wire::framing::none;
    std::uint64_t left_ = 0;
    bool json_ = false;
    bool maybe_binary_ = false; // nothing said that it is JSON: what fails the scan is binary
    std::uint64_t limit_ = 0;
    std::optional<wire::chunk_decoder> chunks_;
    std::optional<wire::json_scanner> scanner_;
    wire::json_index index_;
    std::string_view memory_;
    std::unique_ptr<payloads::replay> log_;
    std::size_t in_buffer_ = 0;
    bool received_ = false;
    bool whole_ = false;
    bool receiving_ = false;
    bool ending_ = false;
    bool dropped_ = false; // the copy is not wanted any more
    std::optional<failure> failed_;
    std::unique_ptr<net::event> changed_; // receiving ended, or the log wants more
    std::unique_ptr<net::event> waiters_; // wait_whole(), first bytes
    std::list<std::string> texts_; // what facts() had to copy; unlike a deque an empty one allocates nothing
};

} // namespace gw::ingress
