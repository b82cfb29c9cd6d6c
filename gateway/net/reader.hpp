// The reading half of a connection: a buffer and exactly one outstanding read, whether somebody waits for
// bytes or not. So a peer that leaves is noticed at once, and a read that was started while waiting delivers
// the next message. Nothing waits with a buffer: bytes come in the loop's scratch block, few are copied out
// of it, many take it along, and a buffer whose bytes are consumed goes back to the loop at the next wait.
//
// Bytes [data()] stay where they are until consume() or more(). What arrives for a watch() while bytes are
// held goes to a second buffer, which takes the first one's place once those are consumed: so nothing moves
// under a view.
#pragma once

#include "net/stream.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

namespace gw::net {

class reader final : private io_op
{
public:
    static constexpr std::size_t first_size = loop::small_block;
    static constexpr std::size_t full_size = loop::full_block;

    explicit reader(stream& from) : from_(from)
    {
        complete = [](io_op& self) { static_cast<reader&>(self).finished(); };
    }
    ~reader();
    reader(const reader&) = delete;
    reader& operator=(const reader&) = delete;

    [[nodiscard]] std::string_view data() const { return {buffer_.get() + begin_, end_ - begin_}; }
    void consume(std::size_t n)
    {
        begin_ += n;
        if (begin_ == end_ && next_end_ != 0) {
            promote();
        }
    }
    [[nodiscard]] bool empty() const { return begin_ == end_; }

    // Waits until data() has grown, or the connection ended (eof, timed_out, operation_aborted, ...): the
    // sticky error. Bytes may move. REQUIRES nobody else waits.
    [[nodiscard]] auto more()
    {
        struct awaiter
        {
            reader& of;
            std::size_t had;
            bool await_ready() { return of.begin_more(had); }
            void await_suspend(std::coroutine_handle<> who) noexcept { of.waiter_ = who; }
            error_code await_resume() const noexcept
            {
                return of.end_ - of.begin_ > had ? error_code{} : of.ec_;
            }
        };
        return awaiter{*this, end_ - begin_};
    }

    // The same with what comes read to where it is wanted, past data(): the number of bytes, 0: see failed().
    // REQUIRES can_read_to().
    [[nodiscard]] auto read_to(std::span<char> place)
    {
        struct awaiter
        {
            reader& of;
            std::span<char> place;
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<> who)
            {
                of.waiter_ = who;
                of.start_elsewhere(place);
            }
            std::size_t await_resume() const noexcept { return of.n; }
        };
        return awaiter{*this, place};
    }
    // Nothing is held, and no read is outstanding that would bring something to the buffer.
    [[nodiscard]] bool can_read_to() const { return empty() && !reading_ && !ec_; }

    // Keeps one read outstanding while nobody waits: at most `limit` bytes are taken, then it pauses. `gone`
    // is called (from the event loop) when the peer closed or broke the connection; not for cancel().
    void watch(std::size_t limit, std::function<void()> gone);
    void unwatch() { gone_ = nullptr; }

    [[nodiscard]] bool outstanding() const { return reading_; }
    [[nodiscard]] error_code failed() const { return ec_; } // sticky
    void clear_timeout();                                   // a timed-out read may be followed by another one

    // Nothing is buffered and nobody waits: the buffer goes back to the loop.
    void give_back();

    // Ends the outstanding read and waits for it, so that the object may go.
    [[nodiscard]] task<void> stop();

private:
    bool begin_more(std::size_t had);
    void start(std::size_t limit);
    void start_elsewhere(std::span<char> place);
    void finished();
    void take(std::size_t n);                     // what was read follows what is held
    void take_aside(std::size_t n);               // into the second buffer
    void append(const char* from, std::size_t n); // to the first buffer
    void grow(std::size_t n);                     // room for so many behind what is held
    void release();                               // the first buffer, empty
    void promote();                               // the second buffer becomes the first

    stream& from_;
    loop::block buffer_;
    std::size_t size_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    loop::block next_; // the second buffer: none, or small
    std::size_t next_end_ = 0;
    bool reading_ = false;
    bool elsewhere_ = false; // what is read is not for a buffer of ours
    bool stopping_ = false;
    error_code ec_;
    std::size_t watch_limit_ = 0;
    std::coroutine_handle<> waiter_;
    std::function<void()> gone_;
};

} // namespace gw::net
