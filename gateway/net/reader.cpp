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
    release();
    if (next_) {
        from_.on().give(std::move(next_), loop::small_block);
    }
}

bool reader::begin_more(std::size_t had)
{
    if (next_end_ != 0) {
        append(next_.get(), next_end_);
        next_end_ = 0;
        from_.on().give(std::move(next_), loop::small_block);
    }
    if (ec_ || end_ - begin_ > had) {
        return true;
    }
    give_back();
    if (!reading_) {
        start(full_size); // never completes inline, so there is nothing to test here
    }
    return false;
}

void reader::start(std::size_t limit)
{
    reading_ = true;
    from_.start_read(limit, *this);
}

void reader::start_elsewhere(std::span<char> place)
{
    give_back();
    reading_ = true;
    elsewhere_ = true;
    from_.start_read(place.size(), *this, place.data());
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
    if (empty()) {
        give_back();
        start(limit);
        return;
    }
    const std::size_t most = std::min(limit, loop::small_block);
    if (next_end_ < most) { // else paused: pipelined bytes enough
        start(most - next_end_);
    }
}

void reader::take(std::size_t n)
{
    if (!empty()) {
        append(from_.on().scratch(), n);
        return;
    }
    if (n <= loop::small_block) {
        if (size_ != loop::small_block) {
            release();
            buffer_ = from_.on().take_small();
            size_ = loop::small_block;
        }
        std::memcpy(buffer_.get(), from_.on().scratch(), n);
    } else {
        release();
        buffer_ = from_.on().take_scratch();
        size_ = loop::full_block;
    }
    begin_ = 0;
    end_ = n;
}

void reader::take_aside(std::size_t n)
{
    if (!next_) {
        next_ = from_.on().take_small();
    }
    assert(next_end_ + n <= loop::small_block);
    std::memcpy(next_.get() + next_end_, from_.on().scratch(), n);
    next_end_ += n;
}

void reader::append(const char* from, std::size_t n)
{
    grow(n);
    std::memcpy(buffer_.get() + end_, from, n);
    end_ += n;
}

void reader::grow(std::size_t n)
{
    if (size_ - end_ >= n) {
        return;
    }
    const std::size_t held = end_ - begin_;
    std::size_t size = std::max(size_, loop::small_block);
    while (size - held < n || size - held < size / 4) {
        size *= 2;
    }
    if (size == size_) {
        std::memmove(buffer_.get(), buffer_.get() + begin_, held);
    } else {
        auto bigger = std::make_unique_for_overwrite<char[]>(size);
        if (held != 0) {
            std::memcpy(bigger.get(), buffer_.get() + begin_, held);
        }
        release();
        buffer_ = std::move(bigger);
        size_ = size;
    }
    begin_ = 0;
    end_ = held;
}

void reader::release()
{
    if (buffer_) {
        from_.on().give(std::move(buffer_), size_);
    }
    size_ = begin_ = end_ = 0;
}

void reader::promote()
{
    release();
    buffer_ = std::move(next_);
    size_ = loop::small_block;
    end_ = std::exchange(next_end_, 0);
}

void reader::finished()
{
    reading_ = false;
    if (std::exchange(elsewhere_, false)) {
        // It lies where it is wanted.
    } else if (n != 0 && !waiter_ && !empty()) {
        take_aside(n); // views into what is held live
    } else if (n != 0) {
        take(n);
    }
    if (io_op::ec) {
        ec_ = io_op::ec;
        if (from_.read_timed_out() && ec_ == asio::error::operation_aborted) {
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
    if (empty()) {
        release();
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
