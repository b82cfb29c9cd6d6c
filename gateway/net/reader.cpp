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
    merge();
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
        if (filled_ && size_ < full_size) {
            want = std::max(want, 2 * size_); // bytes flow
        }
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
    offered_ = std::min(size_ - end_, limit);
    from_.start_read(buffer_.get() + end_, offered_, *this);
}

void reader::start_elsewhere(std::span<char> place)
{
    reading_ = true;
    elsewhere_ = true;
    from_.start_read(place.data(), place.size(), *this);
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
    if (empty() && !into_next_) {
        give_back(); // it may idle for long
        filled_ = false;
        make_room(1);
        start(limit);
        return;
    }
    // What is held must not move: views into it live.
    if (next_end_ >= std::min(limit, first_size)) {
        return; // paused: pipelined bytes enough
    }
    if (!next_) {
        next_ = std::make_unique_for_overwrite<char[]>(first_size);
    }
    into_next_ = true;
    reading_ = true;
    from_.start_read(next_.get() + next_end_, std::min(limit, first_size) - next_end_, *this);
}

void reader::promote()
{
    std::swap(buffer_, next_);
    const bool small = size_ == first_size;
    size_ = first_size;
    begin_ = std::exchange(next_begin_, 0);
    end_ = std::exchange(next_end_, 0);
    into_next_ = false;
    if (!small) {
        next_.reset(); // it was larger than a second buffer is
    }
}

void reader::merge()
{
    const std::size_t held = next_end_ - next_begin_;
    if (held != 0) {
        make_room(held);
        std::memcpy(buffer_.get() + end_, next_.get() + next_begin_, held);
        end_ += held;
        next_begin_ = next_end_; // a read may be outstanding behind it
    }
    if (into_next_ && !reading_) {
        next_begin_ = next_end_ = 0;
        into_next_ = false;
    }
}

void reader::finished()
{
    reading_ = false;
    if (std::exchange(elsewhere_, false)) {
        filled_ = false;
    } else {
        filled_ = !into_next_ && n == offered_;
        (into_next_ ? next_end_ : end_) += n;
    }
    if (io_op::ec) {
        ec_ = io_op::ec;
        if (from_.read_timed_out() && ec_ == asio::error::operation_aborted) {
            ec_ = asio::error::timed_out;
        }
    }
    if (waiter_) {
        merge();
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
    if (begin_ == end_ && !reading_) {
        begin_ = end_ = 0;
        if (size_ > first_size) {
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
