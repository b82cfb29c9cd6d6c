// A body as a replayable source: one growing log, one writer (the client's connection), independent readers
// (the attempts). What outgrows memory goes to a file of the spool. Owned by one request; everything here is
// called on the thread of its core, and every callback runs there: from inside append(), adopt(), finish(),
// fail() and keep_copy(), or posted. No call ever waits or touches a file.
//
// Where the bytes are. Positions count from the body's first byte.
//
//      0                       begin of blocks_       spilled_            size_
//      |------------------------|------------------------|------------------|
//        in the file only         in both                  in memory only
//
// - The newest `memory_per_body` bytes stay in memory, all of a body whose reservation is whole(); older
// blocks
//   go once they are written. A body within that never touches a file. Memory per body is at most that +
//   spool_limits.write + one append(), and one read buffer per reader that lags behind into the file.
// - Without a copy (keep_copy(false), no space, a file that cannot be written) nothing is written any more:
//   once memory_per_body is full, blocks that every reader has passed are dropped, and replayable() is false
//   from the first one on; wants_more() holds the writer back to the slowest reader's pace. There must be a
//   reader then, or it waits for ever.
// - A view given out stays good while its reader holds it, whatever is dropped meanwhile: blocks are counted.
#pragma once

#include "message/body.hpp"
#include "message/failure.hpp"
#include "payload/spool.hpp"

#include <boost/container/small_vector.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace gw::payloads {

// Brings work of a side thread back to the owner's thread; callable from any thread at any time.
using post_fn = std::function<void(std::move_only_function<void()>)>;

class replay
{
public:
    static constexpr std::size_t padding = block_padding;

    class reader;

    // `space` from store.admit(); a default one is for a body of unknown size that is whole before it is
    // used.
    replay(spool& store, post_fn post, reservation space = {});
    ~replay(); // readers that are left over fail, without a call
    replay(const replay&) = delete;
    replay& operator=(const replay&) = delete;

    // ---- the writer ----

    // Copies; never waits. Ignored once complete() or failed().
    //   errors  failed() becomes `overloaded` when the budgets are used up and the body may not go on without
    //   a copy
    void append(std::string_view bytes);
    // The same without the copy: room for the next bytes, of which commit() then tells how many have come.
    // Empty once complete() or failed(), which it may become here as by append().
    //   requires  nothing else is written between the two
    [[nodiscard]] std::span<char> room();
    void commit(std::size_t bytes);
    // The same for a body (or its beginning) that is a string already. Copies after all when
    // the string has no `padding` bytes of spare capacity.
    void adopt(std::string&& whole);
    // The body is whole.
    void finish();
    // The writer broke off (or we did): everything is dropped, readers see it at once.
    void fail(failure why);

    // False while memory is full: the writer pauses. Also false once the body is whole or failed.
    [[nodiscard]] bool wants_more() const;
    // Calls once, as soon as wants_more() or failed(); at once if so already. Replaces an earlier one.
    void when_wants_more(std::move_only_function<void()> then);

    // ---- what is known ----

    [[nodiscard]] std::uint64_t size() const { return size_; } // so far
    [[nodiscard]] bool complete() const { return complete_; }
    [[nodiscard]] const failure* failed() const { return failed_.get(); }
    // True while a reader may still start at the first byte.
    [[nodiscard]] bool replayable() const { return !dropped_ && failed_ == nullptr; }
    // False: what does not fit into memory is held back until a reader has passed it.
    [[nodiscard]] bool copying() const { return may_spill(); }
    // True once some of it is in a file.
    [[nodiscard]] bool spilled() const { return spilled_ != 0; }
    // Bytes held in memory, without readers' buffers.
    [[nodiscard]] std::uint64_t in_memory() const { return in_memory_; }

    // The bytes of a range if they lie in memory in one piece (with `padding` readable bytes behind them).
    // A body whose size was told and is within memory_per_body, or that was adopted, is one piece.
    // Valid until the next append() or posted completion; for a complete() body that is not spilled(), as
    // long as this lives.
    [[nodiscard]] std::optional<std::string_view> view(byte_range range) const;
    // The same copied together from several blocks; nullopt if some of it is not in memory.
    [[nodiscard]] std::optional<std::string> copy(byte_range range) const;

    // False: no other candidate is left, the body goes on without a copy (see above).
    // True again has an effect only while replayable() and the file can be written.
    void keep_copy(bool keep);

    // ---- readers ----

    // Follows the body from a position on, to its live end.
    //   requires  the replay outlives the reader's use
    [[nodiscard]] reader read_from(std::uint64_t position);

private:
    struct block
    {
        std::uint64_t begin = 0;
        std::size_t size = 0;
        std::size_t capacity = 0;
        std::shared_ptr<char[]> bytes;

        [[nodiscard]] std::uint64_t end() const { return begin + size; }
        [[nodiscard]] bool full() const { return size == capacity; }
    };
    class file;     // closed by a side thread
    struct link;    // how a completion finds this, if it still lives
    struct filling; // a reader's buffer

    [[nodiscard]] const block* find_block(std::uint64_t position) const;
    // One piece for the whole body, if its size was told and is small.
    [[nodiscard]] std::size_t largest_first_block() const;
    // The last block, with room; null: the budget is used up.
    block* last_block(std::size_t wanted);
    [[nodiscard]] block* writable(std::size_t wanted); // the same, or the body has failed
    // What stays in memory, whether there is a file or not.
    [[nodiscard]] std::uint64_t memory_limit() const;
    bool cover(std::size_t added_capacity);

    [[nodiscard]] bool may_spill() const;
    void spill();
    void trim();
    void written(std::uint64_t bytes, int error);
    void lose_copy(failure why);
    void drop_passed();
    void give_up(failure why);

    // Calls whom the present state concerns. The last thing that any entry point does: this may be gone
    // behind it.
    void notify();

    void wake_writer();
    std::shared_ptr<link> linked();

    spool& store_;
    post_fn post_;
    reservation space_;

    boost::container::small_vector<block, 1> blocks_; // ascending, without gaps
    std::uint64_t size_ = 0;
    std::uint64_t in_memory_ = 0; // sum of the blocks' sizes
    std::uint64_t capacity_ = 0;  // sum of their capacities
    std::uint64_t spilled_ = 0;   // the file holds everything before, on a block's edge
    bool complete_ = false;
    bool keep_ = true;
    bool dropped_ = false;
    bool writing_ = false; // one write at a time
    bool broken_ = false;  // the file takes no more
    bool waking_ = false;  // wake_writer() is on its way
    std::unique_ptr<failure> failed_;

    std::shared_ptr<file> file_;
    std::shared_ptr<link> link_;
    std::move_only_function<void()> writer_;
    reader* readers_ = nullptr;    // a list through the readers
    std::shared_ptr<char[]> lent_; // the block of room(), which no failure may take away
    bool* gone_ = nullptr;         // set by the destructor: where notify() looks
};

// One reader of the log. Movable; belongs to the owner's thread too.
class replay::reader
{
public:
    enum class state : std::uint8_t {
        ready,   // take() gives bytes
        waiting, // for the writer, or for the file
        end,     // everything was taken, and the body is whole
        failed,  // see failed()
    };

    reader(reader&& other) noexcept;
    reader& operator=(reader&& other) noexcept;
    ~reader();

    // Bytes at the position, at most `max`, and moves behind them. nullopt: not ready (it may have turned
    // into waiting since now() was asked, when bytes left memory for the file). Not empty unless max is 0.
    // Valid until the next take(), seek() or when_ready(), and the reader's end.
    [[nodiscard]] std::optional<std::string_view> take(std::size_t max = std::string_view::npos);

    [[nodiscard]] state now() const;
    [[nodiscard]] std::uint64_t position() const { return position_; }
    // Anywhere in the body, also behind its present end.
    void seek(std::uint64_t position);
    // Calls once, as soon as the state is not waiting; at once if so already. Replaces an earlier one; an
    // empty function takes it back.
    void when_ready(std::move_only_function<void()> then);
    // Why the state is failed; null when it is not.
    [[nodiscard]] const failure* failed() const;

private:
    friend class replay;

    reader(replay& log, std::uint64_t position);
    void enlist(replay* log);
    void unlink();
    void leave();
    [[nodiscard]] bool in_buffer() const;
    void start_read();
    void filled(std::size_t bytes, int error);
    void drop_buffer();

    replay* log_ = nullptr;
    reader* next_ = nullptr;
    reader* before_ = nullptr;
    std::uint64_t position_ = 0;
    std::shared_ptr<char[]> held_; // the block of the last view
    std::shared_ptr<filling> buffer_;
    std::move_only_function<void()> then_;
    std::unique_ptr<failure> failed_;
};

} // namespace gw::payloads
