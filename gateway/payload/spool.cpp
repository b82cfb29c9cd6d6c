#include "payload/spool.hpp"

#include "message/quiet_thread.hpp"

#include <algorithm>
#include <chrono>

namespace gw::payloads {
namespace {

constexpr int side_threads = 2;

// Adds `more` unless that passes `limit`.
bool take(std::atomic<std::uint64_t>& used, std::uint64_t more, std::uint64_t limit)
{
    std::uint64_t now = used.load(std::memory_order_relaxed);
    do {
        if (more > limit || now > limit - more) {
            return false;
        }
    } while (!used.compare_exchange_weak(now, now + more, std::memory_order_relaxed));
    return true;
}

} // namespace

failure out_of_space(std::string detail)
{
    failure made;
    made.what = code::overloaded;
    made.from = origin::gateway;
    made.text =
        "too many large request bodies at once: try again in a moment (the policy's `spool.memory` and "
        "`spool.disk` bound them)";
    made.detail = std::move(detail);
    made.retry_after = std::chrono::seconds(1);
    return made;
}

failure unwritable(std::string detail)
{
    failure made = out_of_space(std::move(detail));
    made.text =
        "the gateway has no place for a body of this size at the moment: its `spool.dir` cannot be written";
    return made;
}

reservation& reservation::operator=(reservation&& other) noexcept
{
    if (this != &other) {
        release();
        from_ = std::exchange(other.from_, nullptr);
        memory_ = std::exchange(other.memory_, 0);
        disk_ = std::exchange(other.disk_, 0);
        how_ = other.how_;
        expected_ = other.expected_;
        whole_ = std::exchange(other.whole_, false);
    }
    return *this;
}

void reservation::release()
{
    if (from_ != nullptr) {
        from_->memory_.fetch_sub(std::exchange(memory_, 0), std::memory_order_relaxed);
        release_disk();
    }
}

void reservation::release_disk()
{
    if (from_ != nullptr) {
        from_->disk_.fetch_sub(std::exchange(disk_, 0), std::memory_order_relaxed);
    }
}

void reservation::shrink(std::uint64_t memory)
{
    whole_ = false;
    if (from_ != nullptr && memory < memory_) {
        from_->memory_.fetch_sub(memory_ - memory, std::memory_order_relaxed);
        memory_ = memory;
    }
}

spool::spool(spool_limits limits) : limits_(std::move(limits)), blocks_(limits_.block + block_padding)
{
    for (int count = 0; count < side_threads; ++count) {
        threads_.push_back(quiet_thread([this] { work(); }));
    }
}

spool::~spool()
{
    {
        const std::lock_guard hold(lock_);
        stopping_ = true;
    }
    wake_.notify_all();
    for (auto& each : threads_) {
        each.join();
    }
}

result<reservation> spool::admit(std::optional<std::uint64_t> expected, copies how)
{
    reservation made;
    made.how_ = how;
    made.expected_ = expected;
    if (!expected) {
        return made; // taken as it grows
    }

    // One that is not so small touches no file while there is plenty.
    if (how != copies::none && *expected > limits_.memory_per_body && *expected <= limits_.whole &&
        take_memory(made, *expected, limits_.memory / 2)) {
        made.whole_ = true;
        return made;
    }

    const bool small = *expected <= limits_.memory_per_body;
    const std::uint64_t write_buffer = how == copies::none ? 0 : limits_.write;
    if (!take_memory(made, small ? *expected : limits_.memory_per_body + write_buffer)) {
        refused_.fetch_add(1, std::memory_order_relaxed);
        return std::unexpected(out_of_space("spool: no memory for a body of " + std::to_string(*expected)));
    }
    if (!small && how != copies::none && !take_disk(made, *expected)) {
        if (how == copies::required) {
            refused_.fetch_add(1, std::memory_order_relaxed);
            return std::unexpected(out_of_space("spool: no disk for a body of " + std::to_string(*expected)));
        }
        without_copy_.fetch_add(1, std::memory_order_relaxed);
        made.how_ = copies::none;
    }
    return made;
}

spool::figures spool::now() const
{
    return {
        .memory = memory_.load(std::memory_order_relaxed),
        .disk = disk_.load(std::memory_order_relaxed),
        .refused = refused_.load(std::memory_order_relaxed),
        .without_copy = without_copy_.load(std::memory_order_relaxed),
        .io_errors = io_errors_.load(std::memory_order_relaxed),
    };
}

bool spool::take_memory(reservation& into, std::uint64_t more, std::uint64_t limit)
{
    if (!take(memory_, more, limit)) {
        return false;
    }
    into.from_ = this;
    into.memory_ += more;
    return true;
}

bool spool::take_disk(reservation& into, std::uint64_t more)
{
    if (!take(disk_, more, limits_.disk)) {
        return false;
    }
    into.from_ = this;
    into.disk_ += more;
    return true;
}

void spool::submit(std::move_only_function<void()> job)
{
    {
        const std::lock_guard hold(lock_);
        jobs_.push_back(std::move(job));
    }
    wake_.notify_one();
}

void spool::work()
{
    std::unique_lock hold(lock_);
    while (true) {
        wake_.wait(hold, [this] { return stopping_ || !jobs_.empty(); });
        if (jobs_.empty()) {
            return;
        }
        auto job = std::move(jobs_.front());
        jobs_.pop_front();
        hold.unlock();
        job();
        job = nullptr; // what it owned may submit again (a file is closed by a job)
        hold.lock();
    }
}

} // namespace gw::payloads
