// A body as a replayable source: one growing log, one writer (the client's connection), independent readers
// (the attempts). What outgrows memory goes to a file of the spool. Owned by one request; everything here is
// called on the thread of its core, and every callback runs there: from inside append(), finish(), fail() and
// take(), or from a completion that a side thread posted. No call ever waits or touches a file.
//
// Where the bytes are. Positions count from the body's first byte.
//
//      0          dropped_            spilled_                          size_
//      |----------|-------------------|---------------------------------|
//        gone       in the file only      in memory, blocks in order
//
// - The newest `memory_per_body` bytes stay in memory; older blocks go once they are written. Memory per body
// is at
//   most memory_per_body + spool_limits.write + one append(), and per reader of the file one read buffer.
// - Without a copy (keep_copy(false), no space, a file that cannot be written) nothing is written any more,
// and blocks
//   that every reader has passed are dropped; wants_more() keeps the rest within memory_per_body.
// - A view given out stays good while its reader holds it, whatever is dropped meanwhile: blocks are counted.
#pragma once

#include "message/body.hpp"
#include "message/failure.hpp"
#include "payload/spool.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gw::payloads {

// Brings work of a side thread back to the owner's thread; callable from any thread at any time.
using post_fn = std::function<void(std::move_only_function<void()>)>;

class replay
{
public:
    // Every block has this many readable bytes behind its last one, as simdjson wants them.
    static constexpr std::size_t padding = 64;

    class reader;

    replay(spool& store, post_fn post, reservation space = {});
    ~replay(); // readers that are left fail
    replay(const replay&) = delete;
    replay& operator=(const replay&) = delete;

    // ---- the writer ----

    // Copies; never waits. Callbacks of readers may run inside.
    void append(std::string_view bytes);
    // The same without a copy, for a body or a beginning that is a string already.
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
    [[nodiscard]] const failure* failed() const { return failed_ ? &*failed_ : nullptr; }
    // True while a reader may still start at the first byte.
    [[nodiscard]] bool replayable() const;
    // True once some of it is in a file only.
    [[nodiscard]] bool spilled() const { return spilled_ != 0; }
    // Bytes held in memory, without readers' buffers.
    [[nodiscard]] std::uint64_t in_memory() const;

    // The bytes of a range if they lie in memory in one piece (with `padding` readable bytes behind them).
    // A body whose size was told and is within memory_per_body, or that was adopted, is one piece.
    // Valid until the next append() or completion; for a complete() body that is not spilled(), as long as
    // this lives.
    [[nodiscard]] std::optional<std::string_view> view(byte_range range) const;
    // The same copied together from several blocks; nullopt if some of it is not in memory.
    [[nodiscard]] std::optional<std::string> copy(byte_range range) const;

    // False: no other candidate is left. Nothing is written any more; what all readers have passed is
    // dropped. True again has an effect only while replayable().
    void keep_copy(bool keep);

    // ---- readers ----

    // Follows the body from a position; on to its live end.  REQUIRES: the replay outlives its use (a reader
    // that is left over fails).
    [[nodiscard]] reader read_from(std::uint64_t position);

private:
    // members: see below in the implementation's order; declared by hand for speed of a small body
    struct block
    {
        std::uint64_t begin = 0;
        std::size_t size = 0;
        std::size_t capacity = 0;
        std::shared_ptr<char[]> bytes;

        [[nodiscard]] std::uint64_t end() const { return begin + size; }
    };
    struct file;
    struct link;
    struct filling;

    spool& store_;
    post_fn post_;
    reservation space_;
    std::uint64_t size_ = 0;
    std::uint64_t spilled_ = 0;
    bool complete_ = false;
    std::optional<failure> failed_;
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
    // into waiting since state() was asked, when bytes left memory for the file). Never empty unless max is
    // 0. Valid until the next take(), seek() or the reader's end.
    [[nodiscard]] std::optional<std::string_view> take(std::size_t max = std::string_view::npos);

    [[nodiscard]] state now() const;
    [[nodiscard]] std::uint64_t position() const;
    void seek(std::uint64_t position);
    // Calls once, as soon as the state is not waiting; at once if so already. Replaces an earlier one.
    void when_ready(std::move_only_function<void()> then);
    // Why the state is failed.
    [[nodiscard]] const failure* failed() const;
};

} // namespace gw::payloads
