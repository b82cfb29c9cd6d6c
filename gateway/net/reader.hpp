// The reading half of a connection: a buffer and exactly one outstanding read, whether somebody waits for
// bytes or not. So a peer that leaves is noticed at once, and a read that was started while waiting delivers
// the next message. The buffer starts at 4 KiB, grows to 64 KiB while bytes flow, and is given back when the
// connection idles.
//
// Bytes [data()] stay where they are until consume() or more(). A watch() that starts while bytes are held
// reads into a second buffer, which takes the first one's place once those are consumed: so a request is read
// to the front of a buffer, and nothing moves under a view.
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
    static constexpr std::size_t first_size = 4 * 1024;
    static constexpr std::size_t full_size = 64 * 1024;

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
        if (begin_ == end_ && into_next_) {
            promote();
        }
    }
    [[nodiscard]] bool empty() const { return begin_ == end_; }

    // Waits until data() has grown, or the connection ended (eof, timed_out, operation_aborted, ...): the
    // sticky error. `want` is how much room to offer at least; bytes may move. REQUIRES nobody else waits.
    [[nodiscard]] auto more(std::size_t want = 1)
    {
        struct awaiter
        {
            reader& of;
            std::size_t want;
            std::size_t had;
            bool await_ready() { return of.begin_more(want, had); }
            void await_suspend(std::coroutine_handle<> who) noexcept { of.waiter_ = who; }
            error_code await_resume() const noexcept
            {
                return of.end_ - of.begin_ > had ? error_code{} : of.ec_;
            }
        };
        return awaiter{*this, want, end_ - begin_};
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
    [[nodiscard]] bool can_read_to() const { return empty() && !into_next_ && !reading_ && !ec_; }

    // Keeps one read outstanding while nobody waits: at most `limit` bytes are taken, then it pauses. `gone`
    // is called (from the event loop) when the peer closed or broke the connection; not for cancel().
    void watch(std::size_t limit, std::function<void()> gone);
    void unwatch() { gone_ = nullptr; }

    [[nodiscard]] bool outstanding() const { return reading_; }
    [[nodiscard]] error_code failed() const { return ec_; } // sticky
    void clear_timeout();                                   // a timed-out read may be followed by another one

    // Nothing is buffered and nobody waits: frees the buffer if no read is outstanding in it.
    void give_back();

    // Ends the outstanding read and waits for it, so that the object may go.
    [[nodiscard]] task<void> stop();

private:
    bool begin_more(std::size_t want, std::size_t had);
    void start(std::size_t limit);
    void start_elsewhere(std::span<char> place);
    void make_room(std::size_t want);
    void finished();
    void promote(); // the second buffer becomes the first
    void merge();   // what the second buffer holds follows the first's bytes

    stream& from_;
    std::unique_ptr<char[]> buffer_;
    std::size_t size_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::unique_ptr<char[]> next_; // the second buffer: first_size bytes
    std::size_t next_begin_ = 0;   // bytes before it were merged already
    std::size_t next_end_ = 0;
    bool into_next_ = false;  // the second buffer is in use: what is read, or was read last, belongs into it
    std::size_t offered_ = 0; // to the read that is outstanding, or was last
    bool filled_ = false;     // it took all of that
    bool reading_ = false;
    bool elsewhere_ = false; // what is read is not for a buffer of ours
    bool stopping_ = false;
    error_code ec_;
    std::size_t watch_limit_ = 0;
    std::coroutine_handle<> waiter_;
    std::function<void()> gone_;
};

} // namespace gw::net
