#include "payload/replay.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

namespace gw::payloads {
namespace {

constexpr std::size_t smallest_block = 4096;
// Disk for a body of unknown size is taken in such steps.
constexpr std::uint64_t disk_step = 4ULL << 20U;

std::string describe(int error)
{
    return std::error_code(error, std::generic_category()).message();
}

// A file without a name that dies with its descriptor; -1 and errno when there is none.
int open_unnamed(const std::string& dir)
{
    const int fd = ::open(dir.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) {
        return fd;
    }
    // A file system without O_TMPFILE: a random name, gone at once.
    std::string name = dir + "/fourways-XXXXXX";
    const int named = ::mkostemp(name.data(), O_CLOEXEC);
    if (named >= 0) {
        ::unlink(name.c_str());
    }
    return named;
}

} // namespace

// ---- what is shared with the side threads ----

// Opened, written, read and closed by side threads only.
class replay::file
{
public:
    explicit file(spool& store) : store_(store) {}
    ~file()
    {
        if (fd_ >= 0) {
            store_.submit([fd = fd_] { ::close(fd); }); // freeing a large file takes time
        }
    }
    file(const file&) = delete;
    file& operator=(const file&) = delete;

    struct part
    {
        std::shared_ptr<char[]> bytes;
        std::size_t size = 0;
    };

    // Writes the parts one behind the other; opens the file when there is none yet.
    //   written  how much was, also with an error
    //   returns  errno, 0: all is written
    int write(const std::vector<part>& parts, std::uint64_t offset, std::uint64_t& written)
    {
        if (fd_ < 0) {
            fd_ = open_unnamed(store_.limits().dir);
            if (fd_ < 0) {
                return errno;
            }
        }
        std::size_t at = 0;     // the part
        std::size_t inside = 0; // bytes of it that are written
        while (at < parts.size()) {
            std::array<iovec, 64> vectors{};
            std::size_t count = 0;
            for (std::size_t each = at; each < parts.size() && count < vectors.size(); ++each) {
                const std::size_t skip = each == at ? inside : 0;
                vectors[count++] = {
                    .iov_base = parts[each].bytes.get() + skip, .iov_len = parts[each].size - skip
                };
            }
            const ssize_t done =
                ::pwritev(fd_, vectors.data(), static_cast<int>(count), static_cast<off_t>(offset + written));
            if (done < 0 && errno == EINTR) {
                continue;
            }
            if (done <= 0) {
                return done < 0 ? errno : ENOSPC;
            }
            written += static_cast<std::uint64_t>(done);
            inside += static_cast<std::size_t>(done);
            while (at < parts.size() && inside >= parts[at].size) {
                inside -= parts[at].size;
                ++at;
            }
        }
        return 0;
    }

    // Reads until `length` bytes are there.
    //   returns  errno; the file's end is an error too (EIO)
    int read(char* to, std::size_t length, std::uint64_t offset, std::size_t& done) const
    {
        while (done < length) {
            const ssize_t got = ::pread(fd_, to + done, length - done, static_cast<off_t>(offset + done));
            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got <= 0) {
                return got < 0 ? errno : EIO;
            }
            done += static_cast<std::size_t>(got);
        }
        return 0;
    }

private:
    spool& store_;
    int fd_ = -1;
};

struct replay::link
{
    replay* owner; // looked at on the owner's thread only
    post_fn post;
};

struct replay::filling
{
    reader* owner = nullptr; // looked at on the owner's thread only
    std::shared_ptr<char[]> bytes;
    std::uint64_t begin = 0;
    std::size_t size = 0;
    bool busy = false; // a side thread writes into it
};

// ---- the log ----

replay::replay(spool& store, post_fn post, reservation space)
    : store_(store), post_(std::move(post)), space_(std::move(space)), keep_(space_.how() != copies::none)
{
}

replay::~replay()
{
    if (gone_ != nullptr) {
        *gone_ = true;
    }
    if (link_ != nullptr) {
        link_->owner = nullptr;
    }
    while (readers_ != nullptr) {
        reader& last = *readers_;
        last.drop_buffer();
        last.unlink();
    }
}

void replay::append(std::string_view bytes)
{
    if (complete_ || failed_ != nullptr) {
        return;
    }
    while (!bytes.empty()) {
        block* const last = room(bytes.size());
        if (last == nullptr) {
            return fail(out_of_space("spool: no memory for a body of " + std::to_string(size_) + " and more")
            );
        }
        const std::size_t taken = std::min(bytes.size(), last->capacity - last->size);
        std::memcpy(last->bytes.get() + last->size, bytes.data(), taken);
        last->size += taken;
        size_ += taken;
        in_memory_ += taken;
        bytes.remove_prefix(taken);
    }
    spill();
    drop_passed();
    notify();
}

void replay::adopt(std::string&& whole)
{
    if (complete_ || failed_ != nullptr || whole.empty()) {
        return;
    }
    if (!cover(whole.size())) {
        return fail(out_of_space("spool: no memory for a body of " + std::to_string(size_ + whole.size())));
    }
    const auto kept = std::make_shared<std::string>(std::move(whole));
    kept->reserve(kept->size() + padding);
    if (!blocks_.empty()) {
        block& last = blocks_.back(); // nothing comes behind it any more
        capacity_ -= last.capacity - last.size;
        last.capacity = last.size;
    }
    blocks_.push_back({
        .begin = size_,
        .size = kept->size(),
        .capacity = kept->size(),
        .bytes = std::shared_ptr<char[]>(kept, kept->data()),
    });
    size_ += kept->size();
    in_memory_ += kept->size();
    capacity_ += kept->size();
    spill();
    drop_passed();
    notify();
}

void replay::finish()
{
    if (complete_ || failed_ != nullptr) {
        return;
    }
    complete_ = true;
    notify();
}

void replay::fail(failure why)
{
    if (failed_ != nullptr) {
        return;
    }
    give_up(std::move(why));
    notify();
}

void replay::give_up(failure why)
{
    failed_ = std::make_unique<failure>(std::move(why));
    blocks_.clear();
    in_memory_ = 0;
    capacity_ = 0;
    file_.reset();
    space_.release();
}

bool replay::wants_more() const
{
    if (complete_ || failed_ != nullptr) {
        return false;
    }
    const auto& limits = store_.limits();
    return in_memory_ < (may_spill() ? limits.memory_per_body + limits.write
                                     : std::max<std::uint64_t>(limits.memory_per_body, limits.block));
}

void replay::when_wants_more(std::move_only_function<void()> then)
{
    writer_ = std::move(then);
    notify();
}

const replay::block* replay::find_block(std::uint64_t position) const
{
    auto next = std::ranges::upper_bound(blocks_, position, {}, &block::begin);
    if (next == blocks_.begin()) {
        return nullptr;
    }
    --next;
    return position < next->end() ? &*next : nullptr;
}

std::optional<std::string_view> replay::view(byte_range range) const
{
    if (range.begin > range.end || range.end > size_) {
        return std::nullopt;
    }
    if (range.begin == range.end) {
        return std::string_view{};
    }
    const block* const from = find_block(range.begin);
    if (from == nullptr || range.end > from->end()) {
        return std::nullopt;
    }
    return std::string_view(from->bytes.get() + (range.begin - from->begin), range.size());
}

std::optional<std::string> replay::copy(byte_range range) const
{
    if (range.begin > range.end || range.end > size_) {
        return std::nullopt;
    }
    std::string made;
    while (range.begin < range.end) {
        const block* const from = find_block(range.begin);
        if (from == nullptr) {
            return std::nullopt;
        }
        const std::uint64_t end = std::min(range.end, from->end());
        made.append(from->bytes.get() + (range.begin - from->begin), end - range.begin);
        range.begin = end;
    }
    return made;
}

void replay::keep_copy(bool keep)
{
    if (keep == keep_ || failed_ != nullptr || (keep && (dropped_ || broken_))) {
        return;
    }
    keep_ = keep;
    spill();
    drop_passed();
    notify();
}

replay::reader replay::read_from(std::uint64_t position)
{
    return {*this, position};
}

// ---- memory ----

std::size_t replay::largest_first_block() const
{
    const auto& limits = store_.limits();
    const auto expected = space_.expected();
    if (expected && *expected <= limits.memory_per_body) {
        return std::max<std::size_t>(*expected, 1);
    }
    return limits.block;
}

replay::block* replay::room(std::size_t wanted)
{
    if (!blocks_.empty() && !blocks_.back().full()) {
        return &blocks_.back();
    }

    // The first block grows, so that a small body is one small piece.
    const bool first = blocks_.empty() && size_ == 0;
    const bool only = blocks_.size() == 1 && blocks_.front().begin == 0 && spilled_ == 0 && !writing_;
    const std::size_t present = only ? blocks_.front().capacity : 0;
    std::size_t capacity = store_.limits().block;
    if (first || (only && present < largest_first_block())) {
        const auto expected = space_.expected();
        const bool told = expected && *expected > size_;
        const std::size_t aim = told ? *expected : std::max({smallest_block, 2 * present, present + wanted});
        capacity = std::min(aim, largest_first_block());
        block grown{.begin = 0, .size = present, .capacity = capacity, .bytes = {}};
        if (!cover(capacity - present)) {
            return nullptr;
        }
        grown.bytes = std::make_shared_for_overwrite<char[]>(capacity + padding);
        if (only) {
            std::memcpy(grown.bytes.get(), blocks_.front().bytes.get(), present);
            blocks_.clear();
        }
        blocks_.push_back(std::move(grown));
        capacity_ += capacity - present;
        return &blocks_.back();
    }

    if (!cover(capacity)) {
        return nullptr;
    }
    blocks_.push_back({
        .begin = size_,
        .size = 0,
        .capacity = capacity,
        .bytes = std::make_shared_for_overwrite<char[]>(capacity + padding),
    });
    capacity_ += capacity;
    return &blocks_.back();
}

// Takes budget for memory that was not reserved. A body never takes more than what bounds it: the little that
// one append() may exceed that is not counted.
bool replay::cover(std::size_t added_capacity)
{
    const auto& limits = store_.limits();
    const std::uint64_t needed = std::min(capacity_ + added_capacity, limits.memory_per_body + limits.write);
    if (needed <= space_.memory() || (space_.expected() && size_ < *space_.expected())) {
        return true;
    }
    return store_.take_memory(space_, needed - space_.memory());
}

// ---- the file ----

bool replay::may_spill() const
{
    return !broken_ && (keep_ || space_.how() == copies::required);
}

void replay::spill()
{
    trim();
    const auto& limits = store_.limits();
    if (writing_ || complete_ || failed_ != nullptr || !may_spill() || in_memory_ <= limits.memory_per_body) {
        return;
    }

    // The oldest full blocks that are not written.
    std::vector<file::part> parts;
    std::uint64_t bytes = 0;
    for (const auto& each : blocks_) {
        if (each.begin < spilled_) {
            continue;
        }
        if (!each.full() || (bytes != 0 && bytes + each.size > limits.write)) {
            break;
        }
        parts.push_back({.bytes = each.bytes, .size = each.size});
        bytes += each.size;
    }
    if (bytes == 0) {
        return;
    }

    // Disk that was not reserved, in generous steps while there is enough.
    const std::uint64_t end = spilled_ + bytes;
    if (end > space_.disk() && !store_.take_disk(space_, std::max(disk_step, end - space_.disk())) &&
        !store_.take_disk(space_, end - space_.disk())) {
        return lose_copy(out_of_space("spool: no disk for a body of " + std::to_string(size_) + " and more"));
    }

    if (file_ == nullptr) {
        file_ = std::make_shared<file>(store_);
    }
    writing_ = true;
    store_.submit([link = linked(), file = file_, parts = std::move(parts), offset = spilled_] {
        std::uint64_t done = 0;
        const int error = file->write(parts, offset, done);
        link->post([link, done, error] {
            if (link->owner != nullptr) {
                link->owner->written(done, error);
            }
        });
    });
}

// What is written and older than the newest memory_per_body bytes goes.
void replay::trim()
{
    while (file_ != nullptr && !blocks_.empty() && in_memory_ > store_.limits().memory_per_body &&
           blocks_.front().end() <= spilled_) {
        in_memory_ -= blocks_.front().size;
        capacity_ -= blocks_.front().capacity;
        blocks_.erase(blocks_.begin());
    }
}

void replay::written(std::uint64_t bytes, int error)
{
    writing_ = false;
    if (failed_ != nullptr) {
        return;
    }
    // Whole blocks only: what was written in part stays in memory.
    const std::uint64_t end = spilled_ + bytes;
    for (const auto& each : blocks_) {
        if (each.begin >= spilled_ && each.end() <= end) {
            spilled_ = each.end();
        }
    }
    if (error != 0) {
        store_.io_errors_.fetch_add(1, std::memory_order_relaxed);
        if (complete_) {
            broken_ = true; // the rest of it is in memory, and no more comes
        } else {
            lose_copy(unwritable("spool: " + store_.limits().dir + ": " + describe(error)));
        }
    }
    spill();
    drop_passed();
    notify();
}

void replay::lose_copy(failure why)
{
    broken_ = true;
    if (space_.how() == copies::required) {
        store_.refused_.fetch_add(1, std::memory_order_relaxed);
        return give_up(std::move(why));
    }
    store_.without_copy_.fetch_add(1, std::memory_order_relaxed);
    keep_ = false;
}

void replay::drop_passed()
{
    if (keep_ || writing_ || failed_ != nullptr || readers_ == nullptr) {
        return;
    }
    std::uint64_t passed = readers_->position_;
    for (const reader* each = readers_; each != nullptr; each = each->next_) {
        passed = std::min(passed, each->position_);
    }

    const std::uint64_t limit =
        std::max<std::uint64_t>(store_.limits().memory_per_body, store_.limits().block);
    while (!complete_ && !blocks_.empty() && in_memory_ >= limit && blocks_.front().full() &&
           blocks_.front().end() <= passed) {
        dropped_ = dropped_ || file_ == nullptr || blocks_.front().end() > spilled_;
        in_memory_ -= blocks_.front().size;
        capacity_ -= blocks_.front().capacity;
        blocks_.erase(blocks_.begin());
    }
    if (file_ != nullptr && passed >= spilled_) {
        file_.reset();
        space_.release_disk();
        dropped_ = dropped_ || blocks_.empty() || blocks_.front().begin > 0;
        broken_ = true; // what is gone cannot be written again
    }
}

// For callers that must not have the writer run inside them.
void replay::wake_writer()
{
    if (!writer_ || waking_ || (failed_ == nullptr && !wants_more())) {
        return;
    }
    waking_ = true;
    const auto way = linked();
    way->post([way] {
        if (way->owner != nullptr) {
            way->owner->waking_ = false;
            way->owner->notify();
        }
    });
}

std::shared_ptr<replay::link> replay::linked()
{
    if (link_ == nullptr) {
        link_ = std::make_shared<link>(link{.owner = this, .post = post_});
    }
    return link_;
}

void replay::notify()
{
    bool gone = false;
    bool* const outer = std::exchange(gone_, &gone);
    const auto call = [&](std::move_only_function<void()>& whom) {
        auto then = std::exchange(whom, nullptr);
        then();
        if (gone && outer != nullptr) {
            *outer = true;
        }
        return !gone;
    };

    if (writer_ && (failed_ != nullptr || wants_more()) && !call(writer_)) {
        return;
    }
    // Whoever is called may read on, leave, or bring others: begin again at the front.
    reader* each = readers_;
    while (each != nullptr) {
        if (each->then_ && each->now() != reader::state::waiting) {
            if (!call(each->then_)) {
                return;
            }
            each = readers_;
        } else {
            each = each->next_;
        }
    }
    gone_ = outer;
}

// ---- a reader ----

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
