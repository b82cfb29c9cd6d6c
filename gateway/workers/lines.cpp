#include "workers/lines.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace gw::workers {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD"; // U+FFFD

// Length of the UTF-8 sequence that `text` begins with (RFC 3629: no overlong form, no surrogate, at most
// U+10FFFF); 0: it begins with none.
std::size_t sequence_length(std::string_view text)
{
    const auto byte = [&](std::size_t at) {
        return at < text.size() ? static_cast<std::uint8_t>(text[at]) : std::uint8_t{0};
    };
    const auto follows = [&](std::size_t at, std::uint8_t from, std::uint8_t to) {
        return byte(at) >= from && byte(at) <= to;
    };
    const std::uint8_t first = byte(0);
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xC2 && first <= 0xDF) {
        return follows(1, 0x80, 0xBF) ? 2 : 0;
    }
    if (first >= 0xE0 && first <= 0xEF) {
        const std::uint8_t low = first == 0xE0 ? 0xA0 : 0x80;
        const std::uint8_t high = first == 0xED ? 0x9F : 0xBF;
        return follows(1, low, high) && follows(2, 0x80, 0xBF) ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        const std::uint8_t low = first == 0xF0 ? 0x90 : 0x80;
        const std::uint8_t high = first == 0xF4 ? 0x8F : 0xBF;
        return follows(1, low, high) && follows(2, 0x80, 0xBF) && follows(3, 0x80, 0xBF) ? 4 : 0;
    }
    return 0;
}

// Length of the terminal escape that `text` begins with: ESC [ parameters and intermediates, one final byte;
// 0: none.
std::size_t escape_length(std::string_view text)
{
    if (!text.starts_with("\x1B[")) {
        return 0;
    }
    const auto end = std::ranges::find_if(text.substr(2), [](char c) { return c < 0x20 || c >= 0x40; });
    const std::size_t length = static_cast<std::size_t>(end - text.begin());
    return length < text.size() && text[length] >= 0x40 ? length + 1 : length;
}

void replace_all(std::string& text, std::string_view what, std::string_view by)
{
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
        text.replace(at, what.size(), by);
    }
}

} // namespace

std::string clean_line(std::string_view raw)
{
    std::string clean;
    clean.reserve(raw.size());
    while (!raw.empty()) {
        if (const std::size_t escape = escape_length(raw); escape > 0) {
            raw.remove_prefix(escape);
            continue;
        }
        const std::size_t length = sequence_length(raw);
        if (length == 0) {
            clean += replacement;
            raw.remove_prefix(1);
            continue;
        }
        const auto first = static_cast<std::uint8_t>(raw.front());
        const bool control =
            first < 0x20 || first == 0x7F || (first == 0xC2 && static_cast<std::uint8_t>(raw[1]) < 0xA0);
        clean += control ? std::string_view(" ") : raw.substr(0, length);
        raw.remove_prefix(length);
    }
    return clean;
}

bool line_gate::admit(time_point now)
{
    if (now - second_ >= std::chrono::seconds{1}) {
        second_ = now;
        admitted_ = 0;
    }
    if (admitted_ == lines_a_second) {
        ++refused_;
        return false;
    }
    ++admitted_;
    return true;
}

std::size_t line_gate::take_refused(time_point now)
{
    return now - second_ >= std::chrono::seconds{1} ? take_refused() : 0;
}

std::size_t line_gate::take_refused()
{
    return std::exchange(refused_, 0);
}

std::vector<std::string> line_splitter::feed(std::string_view bytes)
{
    std::vector<std::string> lines;
    const std::size_t room = longest_line + secret_.size();
    while (!bytes.empty()) {
        const std::size_t end = bytes.find_first_of("\r\n");
        const std::string_view piece = bytes.substr(0, end);
        const std::size_t kept = std::min(piece.size(), room - held_.size());
        held_ += piece.substr(0, kept);
        cut_ = cut_ || kept < piece.size();
        if (end == std::string_view::npos) {
            break;
        }
        end_line(lines);
        bytes.remove_prefix(end + 1);
    }
    return lines;
}

std::vector<std::string> line_splitter::finish()
{
    std::vector<std::string> lines;
    end_line(lines);
    return lines;
}

void line_splitter::end_line(std::vector<std::string>& lines)
{
    if (!secret_.empty()) {
        replace_all(held_, secret_, "***");
        if (cut_) { // the beginning of one may stand where the line was cut
            std::size_t part = std::min(secret_.size(), held_.size());
            while (part > 0 && !held_.ends_with(std::string_view(secret_).substr(0, part))) {
                --part;
            }
            held_.resize(held_.size() - part);
        }
    }
    bool cut = cut_;
    if (held_.size() > longest_line) {
        // A character that the cut would split goes whole.
        std::size_t end = longest_line;
        while (end > longest_line - 4 && (static_cast<std::uint8_t>(held_[end]) & 0xC0U) == 0x80U) {
            --end;
        }
        held_.resize(end);
        cut = true;
    }
    std::string line = clean_line(held_);
    if (cut) {
        line += " [cut]";
    }
    if (line.find_first_not_of(' ') != std::string::npos) {
        lines.push_back(std::move(line));
    }
    held_.clear();
    cut_ = false;
}

} // namespace gw::workers
