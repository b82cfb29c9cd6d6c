#include "payload/replay.hpp"

#include "payload/replay_file.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace gw::payloads {
namespace {

constexpr std::size_t smallest_block = 4096;
// Less than that at the end of a block is left empty rather than read into.
constexpr std::size_t smallest_read = 8192;
// Disk for a body of unknown size is taken in such steps.
constexpr std::uint64_t disk_step = 4ULL << 20U;

} // namespace

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
        block* const last = writable(bytes.size());
        if (last == nullptr) {
            return;
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

std::span<char> replay::room()
{
    if (complete_ || failed_ != nullptr) {
        return {};
    }
    if (!blocks_.empty()) {
        block& last = blocks_.back();
        if (!last.full() && last.capacity - last.size < smallest_read && last.capacity >= 2 * smallest_read) {
            capacity_ -= last.capacity - last.size; // not worth a read of its own
            last.capacity = last.size;
        }
    }
    block* const last = writable(smallest_read);
    if (last == nullptr) {
        return {};
    }
    lent_ = last->bytes;
    return {last->bytes.get() + last->size, last->capacity - last->size};
}

void replay::commit(std::size_t bytes)
{
    lent_.reset();
    if (complete_ || failed_ != nullptr) {
        return;
    }
    blocks_.back().size += bytes;
    size_ += bytes;
    in_memory_ += bytes;
    spill();
    drop_passed();
    notify();
}

replay::block* replay::writable(std::size_t wanted)
{
    block* const last = last_block(wanted);
    if (last == nullptr) {
        fail(out_of_space("spool: no memory for a body of " + std::to_string(size_) + " and more"));
    }
    return last;
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
    return in_memory_ < (may_spill() ? memory_limit() + limits.write
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
    if (!keep && space_.whole() && space_.how() != copies::required) {
        space_.shrink(store_.limits().memory_per_body + store_.limits().write);
    }
    spill();
    drop_passed();
    notify();
}

replay::reader replay::read_from(std::uint64_t position)
{
    return {*this, position};
}

// ---- memory ----

std::uint64_t replay::memory_limit() const
{
    return space_.whole() ? std::max(*space_.expected(), store_.limits().memory_per_body)
                          : store_.limits().memory_per_body;
}

std::size_t replay::largest_first_block() const
{
    const auto& limits = store_.limits();
    const auto expected = space_.expected();
    if (expected && *expected <= limits.memory_per_body) {
        return std::max<std::size_t>(*expected, 1);
    }
    return limits.block;
}

replay::block* replay::last_block(std::size_t wanted)
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
        grown.bytes = capacity == store_.limits().block
                          ? store_.blocks().lend()
                          : std::make_shared_for_overwrite<char[]>(capacity + padding);
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
        .bytes = store_.blocks().lend(),
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
    if (writing_ || complete_ || failed_ != nullptr || !may_spill() || in_memory_ <= memory_limit()) {
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
    while (file_ != nullptr && !blocks_.empty() && in_memory_ > memory_limit() &&
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

    // Once the beginning is gone nothing that was passed is worth its place.
    const std::uint64_t limit =
        std::max<std::uint64_t>(store_.limits().memory_per_body, store_.limits().block);
    while (!complete_ && !blocks_.empty() && (dropped_ || in_memory_ >= limit) && blocks_.front().full() &&
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

} // namespace gw::payloads
