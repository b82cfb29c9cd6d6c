#include "wire/sse.hpp"

#include "wire/bytes.hpp"

namespace gw::wire {
namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
constexpr std::uint8_t past_mark = 4;

} // namespace

void sse_splitter::push(std::string_view block)
{
    block_ = block;
    if (mark_ != past_mark) {
        skip_mark();
    }
}

// Drops a byte order mark from the very start, also one that arrives in pieces.
void sse_splitter::skip_mark()
{
    while (!block_.empty() && mark_ < byte_order_mark.size() && block_.front() == byte_order_mark[mark_]) {
        block_.remove_prefix(1);
        ++mark_;
    }
    if (mark_ == byte_order_mark.size()) {
        mark_ = past_mark;
    } else if (!block_.empty()) {
        // It was none: what looked like one is the start of the first line.
        if (mark_ != 0) {
            held_ = byte_order_mark.substr(0, mark_);
            seen_ = mark_;
            where_ = place::in_line;
        }
        mark_ = past_mark;
    }
}

// Moves over the bytes; the size up to and including the blank line when it ends here.
// A CR at the end of a block leaves open whether an LF follows. Waiting for the next byte would hold back
// every event of a stream that uses CR alone, so: behind a line that ended in a bare CR, the blank line is a
// bare CR too, and an LF that comes all the same is carried at the start of the next event. That depends on
// the bytes only, never on how they were split.
std::optional<std::size_t> sse_splitter::find_end(std::string_view bytes)
{
    const char* const begin = bytes.data();
    const char* const end = begin + bytes.size();
    const char* at = begin;
    const auto size = [&] { return static_cast<std::size_t>(at - begin); };

    while (at != end) {
        switch (where_) {
        case place::line_start:
            if (*at == '\n') {
                ++at;
                if (skip_lf_) {
                    skip_lf_ = false;
                    break;
                }
                return size();
            }
            skip_lf_ = false;
            if (*at == '\r') {
                ++at;
                if (bare_cr_) {
                    skip_lf_ = true;
                    return size();
                }
                where_ = place::blank_cr;
                break;
            }
            where_ = place::in_line;
            break;
        case place::in_line:
            at = bytes::find_line_end(at, end);
            if (at != end) {
                where_ = *at == '\n' ? place::line_start : place::line_cr;
                bare_cr_ = false;
                ++at;
            }
            break;
        case place::line_cr:
            bare_cr_ = *at != '\n';
            at += bare_cr_ ? 0 : 1;
            where_ = place::line_start;
            break;
        case place::blank_cr:
            at += *at == '\n' ? 1 : 0;
            return size();
        }
    }
    return std::nullopt;
}

void sse_splitter::end_event()
{
    where_ = place::line_start;
    bare_cr_ = false;
    oversize_ = false;
    seen_ = 0;
}

std::optional<sse_event> sse_splitter::next()
{
    if (used_held_) {
        held_.clear();
        used_held_ = false;
    }
    if (block_.empty()) {
        return std::nullopt;
    }

    if (oversize_) {
        const std::optional<std::size_t> end = find_end(block_);
        sse_event part{
            .raw = block_.substr(0, end.value_or(block_.size())),
            .oversize = true,
            .complete = end.has_value()
        };
        block_.remove_prefix(part.raw.size());
        if (end) {
            end_event();
        }
        return part;
    }

    const std::string_view window = block_.substr(0, limit_ - seen_);
    std::optional<std::size_t> end = find_end(window);
    if (!end && where_ == place::blank_cr && window.size() < block_.size() && block_[window.size()] != '\n') {
        end = window.size(); // ends exactly at the limit, and only the next byte tells
    }
    const std::string_view taken = window.substr(0, end.value_or(window.size()));
    block_.remove_prefix(taken.size());

    if (!end && block_.empty()) {
        held_.append(taken);
        seen_ += taken.size();
        return std::nullopt;
    }

    std::string_view raw = taken;
    if (!held_.empty()) {
        held_.append(taken);
        raw = held_;
        used_held_ = true;
    }
    if (end) {
        end_event();
        return parse(raw);
    }
    oversize_ = true;
    return sse_event{.raw = raw, .oversize = true, .complete = false};
}

std::optional<sse_event> sse_splitter::finish()
{
    if (used_held_) {
        held_.clear();
    }
    if (mark_ != past_mark && mark_ != 0) {
        held_ = byte_order_mark.substr(0, mark_);
    }
    std::optional<sse_event> last;
    if (!held_.empty()) {
        last = parse(held_);
        last->complete = where_ == place::blank_cr; // its blank line is a CR that no LF followed
    }
    used_held_ = true;
    skip_lf_ = false;
    mark_ = 0;
    end_event();
    return last;
}

sse_event sse_splitter::parse(std::string_view raw)
{
    sse_event made{.raw = raw, .is_comment = true};
    bool joining = false;
    const char* at = raw.data();
    const char* const end = at + raw.size();
    while (at != end) {
        const char* const stop = bytes::find_line_end(at, end);
        const std::string_view line{at, static_cast<std::size_t>(stop - at)};
        at = stop == end ? end
                         : stop + 1; // the LF of a CRLF is an empty line of its own: skipped like the others
        if (line.empty() || line.front() == ':') {
            continue;
        }
        made.is_comment = false;
        const std::size_t colon = line.find(':');
        const std::string_view name = line.substr(0, colon);
        std::string_view value =
            colon == std::string_view::npos ? line.substr(line.size()) : line.substr(colon + 1);
        if (value.starts_with(' ')) {
            value.remove_prefix(1);
        }
        if (name == "event") {
            made.name = value;
        } else if (name == "data") {
            if (!made.has_data) {
                made.data = value;
                made.has_data = true;
                continue;
            }
            if (!joining) {
                joined_.assign(made.data);
                joining = true;
            }
            joined_.append("\n").append(value);
        }
    }
    if (joining) {
        made.data = joined_;
    }
    return made;
}

} // namespace gw::wire
