// Inside strings: plain text, escapes, UTF-8, and what is counted of them.
#include "wire/json_scan.hpp"

#include "wire/bytes.hpp"
#include "wire/json_scan_cursor.hpp"

#include <algorithm>

namespace gw::wire {

// The offset at which a string that still goes on is too long. While it is short it may become long, so it is
// held only to whichever limit is wider; end_string() judges it again.
std::uint64_t json_scanner::string_stop() const
{
    if (in_key_) {
        return string_begin_ + limits_.long_string;
    }
    const std::uint64_t room = limits_.long_bytes - std::min(limits_.long_bytes, long_total_);
    return string_begin_ + removed_ + std::max(limits_.long_string, room);
}

// The end of a run of plain text. Where base64 is expected its letters are looked at once: none ends a run.
const char* json_scanner::plain_run(const cursor& at, const char* stop)
{
    const char* const judged = std::clamp(at.up_to(base64_.from()), at.at, stop);
    const char* const before = bytes::find_string_stop(at.at, judged);
    if (before != judged) {
        return before;
    }
    const auto offset = [&at](const char* here) {
        return at.offset() + static_cast<std::uint64_t>(here - at.at);
    };
    const char* const letters = base64_.skip(judged, stop, offset(judged));
    const char* const end = bytes::find_string_stop(letters, stop);
    base64_.text({letters, end}, offset(letters));
    return end;
}

// From anywhere inside a string to its closing quote, or to the end of the block.
bool json_scanner::scan_string(cursor& at)
{
    const char* const from = at.at;
    bool fine = true;
    bool ended = false;
    while (fine && !ended && at.at != at.end) {
        if (state_ == state::escape) {
            fine = scan_escape(at);
            continue;
        }
        if (state_ == state::hex) {
            fine = scan_hex(at);
            continue;
        }
        if (state_ == state::utf8) {
            fine = scan_utf8(at);
            continue;
        }

        // A run of plain text.
        const std::uint64_t limit = string_stop();
        const char* const stop = at.up_to(limit);
        if (at.at < stop) {
            const char* const run = at.at;
            at.at = plain_run(at, stop);
            if (at.at != run) {
                high_surrogate_ = false;
                const char* tail = at.at;
                while (tail != run && tail[-1] == '=' && at.at - tail < 3) {
                    --tail;
                }
                const auto found = static_cast<std::uint8_t>(at.at - tail);
                padding_ = tail == run
                               ? std::min<std::uint8_t>(3, static_cast<std::uint8_t>(padding_ + found))
                               : found;
            }
            if (at.at == at.end) {
                break;
            }
        }

        // What ended it.
        const char c = *at.at;
        if (c == '"') {
            ended = true;
        } else if (at.offset() >= limit) {
            fine = in_key_
                       ? too_large(limit, "a key", limits_.long_string, "")
                       : too_large(
                             limit, "the long strings together", limits_.long_bytes, "limits.payload_bytes"
                         );
        } else if (c == '\\') {
            escaped_ = true;
            state_ = state::escape;
            ++at.at;
        } else if (static_cast<unsigned char>(c) >= 0x80) {
            high_surrogate_ = false;
            padding_ = 0;
            base64_.character(0x80, at.offset());
            // Whole characters while four bytes can be read, else byte by byte.
            const char* const last_whole = at.end - at.at >= 4 ? at.end - 3 : at.at;
            while (at.at < last_whole && static_cast<unsigned char>(*at.at) >= 0x80 && at.offset() < limit) {
                const std::size_t size = bytes::utf8_size(at.at);
                if (size == 0) {
                    fine = invalid(at.offset(), "bytes that are not UTF-8");
                    break;
                }
                at.at += size;
            }
            if (fine && at.at >= last_whole && at.at != at.end &&
                static_cast<unsigned char>(*at.at) >= 0x80 && at.offset() < limit) {
                utf8_begin_ = at.offset();
                utf8_left_ = 0;
                state_ = state::utf8;
            }
        } else {
            fine = invalid(at.offset(), "a control character inside a string; write it as an escape");
        }
    }

    // Keep what is needed beyond this block.
    const std::string_view part{from, static_cast<std::size_t>(at.at - from)};
    if (in_key_) {
        keys_.append(part);
    } else if (head_.size() < json_head_size && fine &&
               (!ended || at.offset() - string_begin_ > limits_.long_string)) {
        head_.append(part.substr(0, json_head_size - head_.size()));
    }
    if (!fine || !ended) {
        return fine;
    }
    const std::uint64_t quote = at.offset();
    ++at.at;
    return end_string(quote);
}

bool json_scanner::scan_escape(cursor& at)
{
    const char c = *at.at;
    switch (c) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        ++removed_;
        high_surrogate_ = false;
        padding_ = 0;
        base64_.character(c == '/' ? '/' : '\\', at.offset()); // `\"` may stand in a data: prefix
        state_ = state::string;
        break;
    case 'u':
        hex_left_ = 4;
        hex_value_ = 0;
        state_ = state::hex;
        break;
    default:
        return unexpected_byte(at.offset(), c);
    }
    ++at.at;
    return true;
}

bool json_scanner::scan_hex(cursor& at)
{
    const int digit = bytes::hex_value(*at.at);
    if (digit < 0) {
        return unexpected_byte(at.offset(), *at.at);
    }
    ++at.at;
    hex_value_ = static_cast<std::uint16_t>(hex_value_ * 16 + digit);
    if (--hex_left_ != 0) {
        return true;
    }
    state_ = state::string;
    if (high_surrogate_ && hex_value_ >= 0xdc00 && hex_value_ <= 0xdfff) {
        removed_ += 5; // twelve bytes for a character of four; three were counted for the first half
        high_surrogate_ = false;
    } else {
        removed_ += hex_value_ < 0x80 ? 5 : hex_value_ < 0x800 ? 4 : 3; // a lone surrogate becomes U+FFFD
        high_surrogate_ = hex_value_ >= 0xd800 && hex_value_ <= 0xdbff;
    }
    base64_.character(hex_value_, at.offset() - 1);
    padding_ = hex_value_ == '=' ? std::min<std::uint8_t>(3, static_cast<std::uint8_t>(padding_ + 1))
                                 : std::uint8_t{0};
    return true;
}

// RFC 3629 section 4, one byte at a time: for characters that a block cuts.
bool json_scanner::scan_utf8(cursor& at)
{
    const auto c = static_cast<unsigned char>(*at.at);
    if (utf8_left_ == 0) {
        utf8_low_ = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        utf8_high_ = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        utf8_left_ = c < 0xc2 || c > 0xf4 ? std::uint8_t{0}
                     : c < 0xe0           ? std::uint8_t{1}
                     : c < 0xf0           ? std::uint8_t{2}
                                          : std::uint8_t{3};
        if (utf8_left_ == 0) {
            return invalid(utf8_begin_, "bytes that are not UTF-8");
        }
        ++at.at;
        return true;
    }
    if (c < utf8_low_ || c > utf8_high_) {
        return invalid(utf8_begin_, "bytes that are not UTF-8");
    }
    utf8_low_ = 0x80;
    utf8_high_ = 0xbf;
    if (--utf8_left_ == 0) {
        state_ = state::string;
    }
    ++at.at;
    return true;
}

} // namespace gw::wire
