// A reader of the log.
#include "payload/replay.hpp"

#include "payload/replay_file.hpp"

#include <algorithm>
#include <utility>

namespace gw::payloads {

replay::reader::reader(replay& log, std::uint64_t position) : position_(position)
{
    enlist(&log);
}

replay::reader::reader(reader&& other) noexcept
{
    *this = std::move(other);
}

replay::reader& replay::reader::operator=(reader&& other) noexcept
{
    if (this == &other) {
        return *this;
    }
    leave();
    replay* const log = other.log_;
    other.unlink();
    enlist(log);
    position_ = other.position_;
    held_ = std::move(other.held_);
    buffer_ = std::move(other.buffer_);
    if (buffer_ != nullptr) {
        buffer_->owner = this;
    }
    then_ = std::exchange(other.then_, nullptr);
    failed_ = std::move(other.failed_);
    return *this;
}

replay::reader::~reader()
{
    leave();
}

void replay::reader::leave()
{
    drop_buffer();
    replay* const log = log_;
    unlink();
    if (log != nullptr) {
        log->drop_passed(); // the slowest may be gone
        log->wake_writer();
    }
}

void replay::reader::enlist(replay* log)
{
    log_ = log;
    if (log == nullptr) {
        return;
    }
    before_ = nullptr;
    next_ = log->readers_;
    if (next_ != nullptr) {
        next_->before_ = this;
    }
    log->readers_ = this;
}

void replay::reader::unlink()
{
    if (log_ == nullptr) {
        return;
    }
    (before_ != nullptr ? before_->next_ : log_->readers_) = next_;
    if (next_ != nullptr) {
        next_->before_ = before_;
    }
    next_ = nullptr;
    before_ = nullptr;
    log_ = nullptr;
}

bool replay::reader::in_buffer() const
{
    return buffer_ != nullptr && !buffer_->busy && position_ >= buffer_->begin &&
           position_ < buffer_->begin + buffer_->size;
}

replay::reader::state replay::reader::now() const
{
    if (log_ == nullptr || failed_ != nullptr || log_->failed_ != nullptr) {
        return state::failed;
    }
    if (position_ >= log_->size_) {
        return log_->complete_ ? state::end : state::waiting;
    }
    if (log_->find_block(position_) != nullptr || in_buffer()) {
        return state::ready;
    }
    return log_->file_ != nullptr && position_ < log_->spilled_ ? state::waiting : state::failed;
}

const failure* replay::reader::failed() const
{
    static const failure lost{
        .what = code::internal,
        .from = origin::gateway,
        .text = "the request's body cannot be sent again",
        .detail = "replay: a reader asked for bytes that were dropped",
    };
    if (now() != state::failed) {
        return nullptr;
    }
    if (failed_ != nullptr) {
        return failed_.get();
    }
    return log_ != nullptr && log_->failed_ != nullptr ? log_->failed_.get() : &lost;
}

std::optional<std::string_view> replay::reader::take(std::size_t max)
{
    if (now() == state::failed || position_ >= log_->size_) {
        held_.reset();
        return std::nullopt;
    }
    if (max == 0) {
        return std::string_view{};
    }

    if (const block* const from = log_->find_block(position_)) {
        const std::size_t offset = position_ - from->begin;
        const std::string_view found(from->bytes.get() + offset, std::min(max, from->size - offset));
        if (held_ != from->bytes) {
            held_ = from->bytes;
        }
        position_ += found.size();
        if (!log_->keep_) {
            log_->drop_passed();
            log_->wake_writer();
        }
        return found;
    }

    held_.reset();
    if (in_buffer()) {
        const std::size_t offset = position_ - buffer_->begin;
        const std::string_view found(buffer_->bytes.get() + offset, std::min(max, buffer_->size - offset));
        position_ += found.size();
        return found;
    }
    start_read();
    return std::nullopt;
}

void replay::reader::seek(std::uint64_t position)
{
    held_.reset();
    position_ = position;
}

void replay::reader::when_ready(std::move_only_function<void()> then)
{
    then_ = nullptr;
    if (then == nullptr) {
        return;
    }
    if (now() != state::waiting) {
        return then();
    }
    then_ = std::move(then);
    if (position_ < log_->size_) {
        start_read();
    }
}

// REQUIRES: the position is in the file, not in memory and not in the buffer.
void replay::reader::start_read()
{
    if (buffer_ != nullptr && buffer_->busy) {
        if (buffer_->begin == position_) {
            return;
        }
        drop_buffer(); // what comes is for where we were
    }
    const auto& limits = log_->store_.limits();
    if (buffer_ == nullptr) {
        buffer_ = std::make_shared<filling>();
        buffer_->owner = this;
        buffer_->bytes = std::make_shared_for_overwrite<char[]>(limits.read);
        log_->store_.charge_memory(limits.read);
    }
    const std::size_t length = std::min<std::uint64_t>(limits.read, log_->spilled_ - position_);
    buffer_->begin = position_;
    buffer_->size = 0;
    buffer_->busy = true;
    log_->store_.submit([link = log_->linked(),
                         file = log_->file_,
                         buffer = buffer_,
                         to = buffer_->bytes,
                         length,
                         offset = position_]() mutable {
        std::size_t done = 0;
        const int error = file->read(to.get(), length, offset, done);
        link->post([buffer = std::move(buffer), done, error] {
            if (buffer->owner != nullptr) {
                buffer->owner->filled(done, error);
            }
        });
    });
}

void replay::reader::filled(std::size_t bytes, int error)
{
    buffer_->busy = false;
    buffer_->size = bytes;
    if (error != 0 && bytes == 0) {
        failed_ = std::make_unique<failure>(failure{
            .what = code::internal,
            .from = origin::gateway,
            .text = "the request's body cannot be sent again",
            .detail = "spool: reading a file in " + log_->store_.limits().dir + ": " + describe(error),
        });
        log_->store_.io_errors_.fetch_add(1, std::memory_order_relaxed);
    }
    if (then_ && now() == state::waiting) {
        start_read(); // it was moved meanwhile
    } else if (then_) {
        auto then = std::exchange(then_, nullptr);
        then();
    }
}

void replay::reader::drop_buffer()
{
    if (buffer_ == nullptr) {
        return;
    }
    buffer_->owner = nullptr;
    buffer_.reset();
    if (log_ != nullptr) {
        log_->store_.release_memory(log_->store_.limits().read);
    }
}

} // namespace gw::payloads
