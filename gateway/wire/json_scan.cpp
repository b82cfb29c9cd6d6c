// Between strings: brackets and keys, and what is noted on the way.
#include "wire/json_scan.hpp"

#include "wire/bytes.hpp"
#include "wire/json_scan_cursor.hpp"
#include "wire/json_text.hpp"

#include <algorithm>

namespace gw::wire {
namespace {

constexpr std::size_t longest_group = 24; // four characters of base64, each written as \uXXXX

// Up to this many members, comparing with each is faster than a set.
constexpr std::size_t few_members = 16;

// Beyond this a string is worth the general scan.
constexpr std::ptrdiff_t short_string = 1024;

bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool ends_in_high_surrogate(std::string_view raw)
{
    const std::size_t at = raw.rfind("\\u");
    return at != std::string_view::npos && raw.size() - at == 6 && (raw[at + 2] | 0x20) == 'd' &&
           std::string_view("89abAB").contains(raw[at + 3]);
}

// The longest prefix of a string's text that unescapes to a prefix of the string, unescaped.
std::string unescaped_head(std::string_view raw)
{
    // A cut may fall into an escape (up to 12 bytes for a pair) or into a character (up to 4).
    for (std::size_t cut = 0; cut <= std::min<std::size_t>(raw.size(), 12); ++cut) {
        const std::string_view kept = raw.substr(0, raw.size() - cut);
        if (raw.size() == json_head_size && ends_in_high_surrogate(kept)) {
            continue; // its other half may stand behind the head
        }
        if (std::optional<std::string> text = unescape_json_string(kept)) {
            return *std::move(text);
        }
    }
    return {};
}

} // namespace

std::string_view to_string(json_kind kind)
{
    switch (kind) {
    case json_kind::object:
        return "object";
    case json_kind::array:
        return "array";
    case json_kind::string:
        return "string";
    case json_kind::number:
        return "number";
    case json_kind::true_:
        return "true";
    case json_kind::false_:
        return "false";
    case json_kind::null:
        return "null";
    }
    return "null";
}

const json_member* json_index::find(std::string_view key) const
{
    const auto found = std::ranges::find(members, key, &json_member::key);
    return found == members.end() ? nullptr : &*found;
}

json_scanner::json_scanner(json_limits limits) : limits_(limits) {}

void json_scanner::reset()
{
    state_ = state::value;
    offset_ = 0;
    tokens_ = 0;
    levels_.clear();
    keys_.clear();
    head_.clear();
    long_total_ = 0;
    long_raw_ = 0;
    seen_keys_.clear();
    failure_.reset();
    found_ = json_index{};
}

result<void> json_scanner::feed(std::string_view block)
{
    if (failure_) {
        return std::unexpected(*failure_);
    }
    cursor at{block.data(), block.data(), block.data() + block.size(), offset_};
    while (at.at != at.end) {
        bool fine = true;
        if (state_ >= state::string) {
            fine = scan_string(at);
        } else if (at.offset() >= limits_.plain_bytes + long_raw_) {
            fine = too_large(
                at.offset(), "JSON apart from long strings", limits_.plain_bytes, "limits.json_bytes"
            );
        } else if (state_ >= state::number_minus) {
            fine = scan_number(at);
        } else if (state_ == state::literal) {
            fine = scan_literal(at);
        } else {
            fine = scan_structure(at);
        }
        if (!fine) {
            return std::unexpected(*failure_);
        }
    }
    offset_ += block.size();
    return {};
}

result<json_index> json_scanner::finish()
{
    if (failure_) {
        return std::unexpected(*failure_);
    }
    if (levels_.empty() && (state_ == state::number_zero || state_ == state::number_int ||
                            state_ == state::number_frac || state_ == state::number_exp)) {
        end_value(offset_); // nothing but the end of the body shows where a bare number ends
    }
    if (state_ != state::done) {
        if (offset_ == 0) {
            invalid(0, "it is empty");
        } else {
            invalid(offset_, "it ends where " + expected() + " must stand");
        }
        return std::unexpected(*failure_);
    }
    return std::move(found_);
}

// Everything between values: white space, brackets, commas, colons, and the first byte of a value or key.
// Keys, short plain strings and words that lie whole in the block are done here too: most of what there is.
bool json_scanner::scan_structure(cursor& at)
{
    const char* const stop = at.up_to(limits_.plain_bytes + long_raw_);
    while (at.at < stop) {
        const char c = *at.at;
        if (is_space(c)) {
            ++at.at;
            continue;
        }
        const std::uint64_t here = at.offset();
        switch (state_) {
        case state::comma_or_end:
            if (c == ',') {
                level& inner = levels_.back();
                ++inner.index;
                state_ = inner.object ? state::key : state::value;
            } else if (c == (levels_.back().object ? '}' : ']')) {
                close(here + 1);
            } else {
                return unexpected_byte(here, c);
            }
            ++at.at;
            break;
        case state::key_or_end:
            if (c == '}') {
                close(here + 1);
                ++at.at;
                break;
            }
            [[fallthrough]];
        case state::key:
            if (c != '"') {
                return unexpected_byte(here, c);
            }
            if (!count_token(here)) {
                return false;
            }
            begin_string(true, here + 1);
            ++at.at;
            if (!scan_whole_string(at)) {
                return false;
            }
            if (state_ == state::string) {
                return true;
            }
            break;
        case state::colon:
            if (c != ':') {
                return unexpected_byte(here, c);
            }
            state_ = state::value;
            ++at.at;
            break;
        case state::value_or_end:
            if (c == ']') {
                close(here + 1);
                ++at.at;
                break;
            }
            [[fallthrough]];
        case state::value:
            if (!begin_value(c, here)) {
                return false;
            }
            ++at.at;
            if (state_ == state::string) {
                if (!scan_whole_string(at)) {
                    return false;
                }
            } else if (state_ == state::literal) {
                if (std::string_view{at.at, stop}.starts_with(literal_rest_)) {
                    at.at += literal_rest_.size();
                    end_value(at.offset());
                }
            } else if (state_ > state::literal && !scan_number(at)) {
                return false;
            }
            if (state_ >= state::literal) {
                return true; // the rest of the value has a scan of its own
            }
            break;
        default:
            return unexpected_byte(here, c); // done
        }
    }
    return true;
}

// A string of ASCII without escapes that ends in this block and is not long. Any other is left as it is, in
// state `string`.
bool json_scanner::scan_whole_string(cursor& at)
{
    const char* const end = at.end - at.at > short_string ? at.at + short_string : at.end;
    const char* const quote = bytes::find_string_stop(at.at, end);
    if (quote == end || *quote != '"' || static_cast<std::uint64_t>(quote - at.at) > limits_.long_string) {
        return true;
    }
    if (in_key_) {
        keys_.append(at.at, static_cast<std::size_t>(quote - at.at));
    }
    at.at = quote;
    const std::uint64_t where = at.offset();
    ++at.at;
    return end_string(where);
}

bool json_scanner::count_token(std::uint64_t where)
{
    if (tokens_ == limits_.tokens) {
        return invalid(
            where,
            "more than " + std::to_string(limits_.tokens) +
                " keys and values (the policy's `limits.json_tokens` raises that)"
        );
    }
    ++tokens_;
    return true;
}

bool json_scanner::begin_value(char first, std::uint64_t where)
{
    if (!count_token(where)) {
        return false;
    }
    json_kind kind = json_kind::null;
    switch (first) {
    case '{':
        kind = json_kind::object;
        break;
    case '[':
        kind = json_kind::array;
        break;
    case '"':
        kind = json_kind::string;
        break;
    case 't':
        kind = json_kind::true_;
        break;
    case 'f':
        kind = json_kind::false_;
        break;
    case 'n':
        kind = json_kind::null;
        break;
    default:
        if (first != '-' && !is_digit(first)) {
            return unexpected_byte(where, first);
        }
        kind = json_kind::number;
    }
    if (levels_.empty()) {
        found_.root = kind;
        found_.where.begin = where;
    } else if (levels_.size() == 1 && levels_.front().object) {
        found_.members.back().kind = kind;
        found_.members.back().where.begin = where;
    }
    switch (kind) {
    case json_kind::object:
        return open(true, where);
    case json_kind::array:
        return open(false, where);
    case json_kind::string:
        begin_string(false, where + 1);
        break;
    case json_kind::number:
        state_ = first == '-' ? state::number_minus : first == '0' ? state::number_zero : state::number_int;
        break;
    default:
        literal_rest_ = to_string(kind).substr(1);
        state_ = state::literal;
    }
    return true;
}

bool json_scanner::open(bool object, std::uint64_t where)
{
    if (levels_.size() >= limits_.depth) {
        return invalid(
            where,
            "more than " + std::to_string(limits_.depth) +
                " arrays and objects inside each other (the policy's `limits.json_depth` raises that)"
        );
    }
    levels_.push_back({.object = object, .keys_before = keys_.size(), .index = 0});
    state_ = object ? state::key_or_end : state::value_or_end;
    return true;
}

void json_scanner::close(std::uint64_t end)
{
    keys_.resize(levels_.back().keys_before);
    levels_.pop_back();
    end_value(end);
}

void json_scanner::end_value(std::uint64_t end)
{
    if (levels_.empty()) {
        found_.where.end = end;
        state_ = state::done;
        return;
    }
    if (levels_.size() == 1 && levels_.front().object) {
        found_.members.back().where.end = end;
    }
    state_ = state::comma_or_end;
}

void json_scanner::begin_string(bool key, std::uint64_t begin)
{
    state_ = state::string;
    string_begin_ = begin;
    removed_ = 0;
    escaped_ = false;
    high_surrogate_ = false;
    padding_ = 0;
    in_key_ = key;
    if (key) {
        keys_.resize(levels_.back().keys_before);
    } else {
        head_.clear();
        // The last characters of the head may be part of a group of four that it does not hold whole.
        base64_.begin(begin + json_head_size - longest_group);
    }
}

bool json_scanner::end_string(std::uint64_t quote)
{
    if (!in_key_ && quote - string_begin_ > limits_.long_string) {
        const byte_range where{string_begin_, quote};
        long_raw_ += where.size();
        long_total_ += where.size() - removed_;
        found_.longs.push_back({
            .path = pointer(),
            .where = where,
            .escapes_removed = removed_,
            .escaped = escaped_,
            .padding = padding_,
            .head = unescaped_head(head_),
            .raw_head = head_,
            .not_base64 = base64_.fault(),
        });
        if (!levels_.empty() && levels_.front().object) {
            found_.members.back().holds_long = true;
        }
    }
    if (quote >= limits_.plain_bytes + long_raw_) {
        return too_large(quote, "JSON apart from long strings", limits_.plain_bytes, "limits.json_bytes");
    }
    if (in_key_) {
        return end_key(quote);
    }
    end_value(quote + 1);
    return true;
}

bool json_scanner::end_key(std::uint64_t quote)
{
    state_ = state::colon;
    if (levels_.size() != 1) {
        return true;
    }
    std::vector<json_member>& members = found_.members;
    if (members.size() == limits_.members) {
        return invalid(string_begin_ - 1, "more than " + std::to_string(limits_.members) + " members");
    }
    std::string key = keys_; // at the outermost level nothing stands before it
    if (escaped_) {
        key = unescape_json_string(keys_).value_or(keys_);
    }
    bool twice = false;
    if (members.size() < few_members) {
        twice = found_.find(key) != nullptr;
    } else {
        if (seen_keys_.empty()) {
            for (const json_member& each : members) {
                seen_keys_.insert(each.key);
            }
        }
        twice = !seen_keys_.insert(key).second;
    }
    if (twice) {
        return invalid(string_begin_ - 1, "a key that stands there twice");
    }
    if (members.empty()) {
        members.reserve(8);
    }
    members.push_back({.key = std::move(key), .where = {quote + 1, quote + 1}});
    return true;
}

// RFC 6901 section 3.
std::string json_scanner::pointer() const
{
    std::string path;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
        path.push_back('/');
        if (!levels_[i].object) {
            path.append(std::to_string(levels_[i].index));
            continue;
        }
        const std::size_t begin = levels_[i].keys_before;
        const std::size_t end = i + 1 < levels_.size() ? levels_[i + 1].keys_before : keys_.size();
        const std::string_view raw = std::string_view{keys_}.substr(begin, end - begin);
        for (const char c : unescape_json_string(raw).value_or(std::string{raw})) {
            if (c == '~') {
                path.append("~0");
            } else if (c == '/') {
                path.append("~1");
            } else {
                path.push_back(c);
            }
        }
    }
    return path;
}

} // namespace gw::wire
