#include "net/loop.hpp"

#include <algorithm>
#include <cerrno>
#include <sys/eventfd.h>
#include <system_error>
#include <utility>

namespace gw::net {
namespace {

constexpr std::chrono::milliseconds tick_time{100};
constexpr int rounds_without_look = 4;  // of work at hand, so that a big body costs no look each time
constexpr std::size_t most_small = 256; // blocks that are kept
constexpr std::size_t most_full = 16;

} // namespace

loop::loop()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      scratch_(std::make_unique_for_overwrite<char[]>(full_block))
{
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = nullptr}};
    if (!epoll_.is_open() || !wake_.is_open() ||
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
        throw std::system_error(errno, std::system_category(), "an event loop cannot be made");
    }
}

loop::~loop() = default;

void loop::run()
{
    thread_ = std::this_thread::get_id();
    const steps stepping;
    auto now = clock::now();
    next_tick_ = now + tick_time;
    int rounds = 0;
    while (!stop_.load(std::memory_order_relaxed)) {
        const bool idle = soon_.empty() && mine_.empty();
        if (idle || ++rounds == rounds_without_look) {
            rounds = 0;
            look(
                idle
                    ? static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(next_tick_ - now).count())
                    : 0
            );
        }
        run_soon();
        run_posted();
        now = clock::now();
        if (now >= next_tick_) {
            tick(now);
        }
    }
    stop_ = false;
    thread_ = std::thread::id();
}

void loop::look(int timeout_ms)
{
    const int count =
        ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), timeout_ms);
    steps::next();
    const auto looked = clock::now();
    count_ = static_cast<std::size_t>(std::max(count, 0));
    at_ = 0;
    run_theirs(); // before what it may have led to: settings that were swapped hold for the next connection
    for (; at_ < count_; ++at_) {
        const epoll_event& each = events_[at_];
        current_ = static_cast<watched*>(each.data.ptr);
        if (current_ != nullptr) { // else: posted, or forgotten meanwhile
            steps::next();
            current_->ready(each.events);
        }
    }
    current_ = nullptr;
    if (count_ < events_.size()) { // else there may be more that was not told
        looked_ = looked;
    }
    count_ = 0;
}

void loop::run_soon()
{
    waiting now;
    now.splice(now.end(), soon_); // what comes meanwhile has its turn later
    while (!now.empty()) {
        current_ = &now.front();
        now.pop_front();
        steps::next();
        current_->due();
    }
    current_ = nullptr;
}

void loop::run_theirs()
{
    std::vector<job> now;
    {
        const std::scoped_lock held(lock_);
        now.swap(theirs_);
    }
    for (auto& each : now) {
        steps::next();
        each();
    }
}

void loop::run_posted()
{
    std::vector<job> now;
    now.swap(mine_);
    for (auto& each : now) {
        steps::next();
        each();
    }
    now.clear();
    if (mine_.empty()) {
        mine_.swap(now); // its memory
    }
}

void loop::tick(time_point now)
{
    next_tick_ = now + tick_time;
    deadlines.tick(now);
    for (const auto& each : ticks_) {
        each(now);
    }
}

void loop::post(job call)
{
    if (thread_.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
        mine_.push_back(std::move(call));
        return;
    }
    {
        const std::scoped_lock held(lock_);
        theirs_.push_back(std::move(call));
    }
    wake();
}

void loop::stop()
{
    stop_ = true;
    wake();
}

void loop::finish()
{
    post([this] { post([this] { stop(); }); });
}

void loop::wake()
{
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one); // full: it wakes anyway
}

error_code loop::watch(int fd, watched& who, std::uint32_t events)
{
    epoll_event event{.events = events | EPOLLET, .data = {.ptr = &who}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
        return {errno, boost::system::system_category()};
    }
    return {};
}

void loop::unwatch(int fd)
{
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void loop::forget(watched& who)
{
    who.unlink();
    for (std::size_t i = at_; i < count_; ++i) {
        if (events_[i].data.ptr == &who) {
            events_[i].data.ptr = nullptr;
        }
    }
    if (current_ == &who) {
        current_ = nullptr;
    }
}

loop::block loop::take_scratch()
{
    if (full_.empty()) {
        full_.push_back(std::make_unique_for_overwrite<char[]>(full_block));
    }
    block taken = std::exchange(scratch_, std::move(full_.back()));
    full_.pop_back();
    return taken;
}

loop::block loop::take_small()
{
    if (small_.empty()) {
        return std::make_unique_for_overwrite<char[]>(small_block);
    }
    block taken = std::move(small_.back());
    small_.pop_back();
    return taken;
}

void loop::give(block what, std::size_t size)
{
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
    return; // freed, so that a use of bytes that were consumed shows
#endif
#endif
    if (size == small_block && small_.size() < most_small) {
        small_.push_back(std::move(what));
    } else if (size == full_block && full_.size() < most_full) {
        full_.push_back(std::move(what));
    }
}

} // namespace gw::net
