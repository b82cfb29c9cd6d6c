// Cuts an event stream (text/event-stream) into whole events, so that each can be forwarded as the bytes it
// was and still be understood. One object per stream; pure. Lines end in LF, CRLF or CR; a byte order mark at
// the start is skipped. Source: WHATWG HTML, section 9.2 "Server-sent events".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gw::wire {

// One event. The views live until the next call of next(), push() or finish() on the splitter.
struct sse_event
{
    std::string_view raw;    // everything, the blank line included: forward this
    std::string_view name;   // the value of `event:`; empty if none
    std::string_view data;   // the values of `data:` lines joined by LF; not a copy when there is one line
    bool has_data = false;   // at least one `data` line, even an empty one
    bool is_comment = false; // nothing but comment lines and blank lines: a keep-alive
    bool oversize =
        false; // a part of an event beyond the limit: `raw` only, the rest follows in further parts
    bool complete = true; // false for every part of an oversize event but its last
};

class sse_splitter
{
public:
    static constexpr std::size_t default_limit = 64 * 1024;

    explicit sse_splitter(std::size_t max_event_bytes = default_limit) : limit_(max_event_bytes) {}

    // Gives the next block. An event that lies whole inside a block is never copied; the block must outlive
    // the next() calls that drain it.
    //   requires  next() has returned nullopt since the last push()
    void push(std::string_view block);

    // The next whole event or part, nullopt when the block is used up. Any split of the stream yields the
    // same events (the cuts between the parts of an oversize event aside: joined, they are the same bytes).
    [[nodiscard]] std::optional<sse_event> next();

    // The stream has ended: what is left without a blank line, parsed like an event (complete == false, but
    // for a blank line whose CR might have gone on with an LF), nullopt if nothing. Some upstreams end that
    // way; the caller decides whether it counts. Then the splitter is as new.
    [[nodiscard]] std::optional<sse_event> finish();

private:
    // Where the next byte stands. `blank_cr`: a CR that may be the first half of the blank line's CRLF.
    enum class place : std::uint8_t { line_start, in_line, line_cr, blank_cr };

    [[nodiscard]] std::optional<std::size_t> find_end(std::string_view bytes);
    void skip_mark();
    void end_event();
    [[nodiscard]] sse_event parse(std::string_view raw);

    std::size_t limit_;
    std::string_view block_; // not yet used
    std::string held_;       // the start of an event whose end has not arrived
    std::string joined_;     // several data lines
    std::uint8_t mark_ = 0;  // bytes of a byte order mark seen so far; 4: past it
    place where_ = place::line_start;
    bool bare_cr_ = false;   // the line before ended in a CR alone
    bool skip_lf_ = false;   // the last event ended in CR CR: an LF behind it belongs to that CR
    bool oversize_ = false;  // inside an event beyond the limit
    bool used_held_ = false; // held_ was given out and is to be cleared
    std::size_t seen_ = 0;   // bytes of the current event looked at so far
};

} // namespace gw::wire
