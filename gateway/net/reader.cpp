#include "net/reader.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace gw::net {

reader::~reader()
{
    assert(!reading_ && "stop() must be awaited before a reader goes");
}

bool reader::begin_more(std::size_t want, std::size_t had)
{
    if (ec_ || end_ - begin_ > had) {
        return true;
    }
    if (!reading_) {
        make_room(want);
        start(full_size);
        // Asio never completes inline, so there is nothing to test here.
    }
    return false;
}

void reader::make_room(std::size_t want)
{
    if (begin_ == end_) {
        begin_ = end_ = 0;
    }
    if (!buffer_) {
        size_ = std::max(first_size, std::min(want, full_size));
        buffer_ = std::make_unique_for_overwrite<char[]>(size_);
        return;
    }
    if (size_ - end_ >= want && size_ - end_ >= size_ / 4) {
        return;
    }
    // Grow while bytes flow: the last read left little room.
    const std::size_t held = end_ - begin_;
    std::size_t next = size_;
    while (next < full_size && next - held < std::max(want, next / 2)) {
        next *= 2;
    }
    if (next - held < want) {
        next = held + want; // heads may need more than a full buffer
    }
    if (next == size_) {
        std::memmove(buffer_.get(), buffer_.get() + begin_, held);
    } else {
        auto bigger = std::make_unique_for_overwrite<char[]>(next);
        if (held != 0) {
            std::memcpy(bigger.get(), buffer_.get() + begin_, held);
        }
        buffer_ = std::move(bigger);
        size_ = next;
    }
    begin_ = 0;
    end_ = held;
}

void reader::start(std::size_t limit)
{
    reading_ = true;
    from_.start_read(buffer_.get() + end_, std::min(size_ - end_, limit), *this);
}

void reader::watch(std::size_t limit, std::function<void()> gone)
{
    gone_ = std::move(gone);
    watch_limit_ = limit;
    if (ec_) {
        if (gone_ && ec_ != asio::error::operation_aborted) {
            gone_();
        }
        return;
    }
    if (reading_) {
        return;
    }
    const std::size_t held = end_ - begin_;
    if (held >= limit) {
        return; // paused: pipelined bytes enough
    }
    if (!buffer_) {
        make_room(1);
    } else if (size_ == end_) {
        return; // what is held must not move while views into it live
    }
    start(limit - held);
}

void reader::finished()
{
    reading_ = false;
    end_ += n;
    if (io_op::ec) {
        ec_ = io_op::ec;
        if (from_.timed_out() && ec_ == asio::error::operation_aborted) {
            ec_ = asio::error::timed_out;
        }
    }
    if (waiter_) {
        std::exchange(waiter_, nullptr).resume();
        return;
    }
    if (stopping_) {
        return;
    }
    if (ec_) {
        if (gone_ && ec_ != asio::error::operation_aborted && ec_ != asio::error::timed_out) {
            gone_();
        }
        return;
    }
    if (gone_) {
        auto again = std::move(gone_);
        watch(watch_limit_, std::move(again));
    }
}

void reader::clear_timeout()
{
    if (ec_ == asio::error::timed_out || ec_ == asio::error::operation_aborted) {
        ec_ = {};
    }
}

void reader::give_back()
{
    if (begin_ == end_) {
        begin_ = end_ = 0;
        if (!reading_ && size_ > first_size) {
            buffer_.reset();
            size_ = 0;
        }
    }
}

task<void> reader::stop()
{
    gone_ = nullptr;
    if (reading_) {
        stopping_ = true;
        from_.cancel();
        struct awaiter
        {
            reader& of;
            bool await_ready() const noexcept { return !of.reading_; }
            void await_suspend(std::coroutine_handle<> who) noexcept { of.waiter_ = who; }
            void await_resume() const noexcept {}
        };
        co_await awaiter{*this};
        stopping_ = false;
    }
}

} // namespace gw::net
