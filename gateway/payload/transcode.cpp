#include "payload/transcode.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace gw::payloads {
namespace {

// Appends up to `room` characters that `write` produces in place; returns how many it wrote.
template <class Write>
std::size_t append_in_place(std::string& out, std::size_t room, Write write)
{
    const std::size_t before = out.size();
    std::size_t written = 0;
    out.resize_and_overwrite(before + room, [&](char* data, std::size_t) {
        written = write(data + before);
        return before + written;
    });
    return written;
}

int hex_digit(char character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    if (character >= 'a' && character <= 'f') {
        return character - 'a' + 10;
    }
    return character >= 'A' && character <= 'F' ? character - 'A' + 10 : -1;
}

// The character that a backslash and this letter stand for; the letter itself for `\"`, `\\`, `\/`.
char unescaped(char letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return letter;
    }
}

} // namespace

transcoder::transcoder(const piece& plan) : plan_(&plan) {}

result<void> transcoder::feed(std::string_view in, std::string& out)
{
    if (in.size() > left()) {
        return mismatch("more bytes than the piece's range");
    }
    consumed_ += in.size();

    switch (plan_->what) {
    case piece::how::literal:
        return {};
    case piece::how::copy: {
        auto fits = count(in.size());
        if (fits) {
            out.append(in);
        }
        return fits;
    }
    case piece::how::encode: {
        const std::size_t written =
            append_in_place(out, base64_encoder::max_output(in.size()), [&](char* to) {
                return encoder_.feed(in, to);
            });
        auto fits = count(written);
        if (!fits) {
            out.resize(out.size() - written);
        }
        return fits;
    }
    case piece::how::decode:
        return plan_->escaped ? decode_escaped(in, out) : decode_plain(in, out);
    }
    return mismatch("an unknown kind of piece");
}

result<void> transcoder::finish(std::string& out)
{
    if (left() != 0) {
        return mismatch("fewer bytes than the piece's range");
    }
    switch (plan_->what) {
    case piece::how::literal: {
        auto fits = count(plan_->text.size());
        if (!fits) {
            return fits;
        }
        out.append(plan_->text);
        break;
    }
    case piece::how::copy:
        break;
    case piece::how::encode: {
        std::array<char, 4> last{};
        const std::size_t written = encoder_.finish(last.data());
        auto fits = count(written);
        if (!fits) {
            return fits;
        }
        out.append(last.data(), written);
        break;
    }
    case piece::how::decode: {
        if (in_ != escape::none) {
            return mismatch("the range ends inside an escape");
        }
        auto ended = decoder_.finish();
        if (!ended) {
            return ended;
        }
        break;
    }
    }
    if (produced_ != plan_->length) {
        return mismatch("an output shorter than promised");
    }
    return {};
}

result<void> transcoder::decode_plain(std::string_view in, std::string& out)
{
    result<std::size_t> decoded;
    const std::size_t written = append_in_place(out, base64_decoder::max_output(in.size()), [&](char* to) {
        decoded = decoder_.feed(in, to);
        return decoded ? *decoded : 0;
    });
    if (!decoded) {
        return fail(decoded);
    }
    auto fits = count(written);
    if (!fits) {
        out.resize(out.size() - written);
    }
    return fits;
}

// Undoes the escapes into a small buffer and decodes that; runs without a backslash are copied whole.
result<void> transcoder::decode_escaped(std::string_view in, std::string& out)
{
    std::array<char, 4096> plain; // NOLINT: filled as far as it is read
    std::size_t filled = 0;
    const auto flush = [&] {
        const std::string_view ready(plain.data(), filled);
        filled = 0;
        return decode_plain(ready, out);
    };

    while (!in.empty()) {
        if (filled == plain.size()) {
            auto decoded = flush();
            if (!decoded) {
                return decoded;
            }
        }
        const char next = in.front();
        switch (in_) {
        case escape::none: {
            if (next == '\\') {
                in_ = escape::backslash;
                in.remove_prefix(1);
                break;
            }
            const std::size_t run =
                std::min({in.find('\\'), in.size(), plain.size() - filled}); // npos is the largest
            std::memcpy(plain.data() + filled, in.data(), run);
            filled += run;
            in.remove_prefix(run);
            break;
        }
        case escape::backslash:
            in.remove_prefix(1);
            if (next == 'u') {
                in_ = escape::hex;
                hex_left_ = 4;
                hex_value_ = 0;
            } else {
                in_ = escape::none;
                plain[filled++] = unescaped(next);
            }
            break;
        case escape::hex: {
            in.remove_prefix(1);
            const int digit = hex_digit(next);
            if (digit < 0) {
                return refuse(code::invalid_base64, "invalid base64: a \\u escape without four hex digits");
            }
            hex_value_ = hex_value_ << 4U | static_cast<unsigned>(digit);
            if (--hex_left_ == 0) {
                in_ = escape::none;
                // No character beyond ASCII is base64: any byte outside the alphabet says so with its
                // position.
                plain[filled++] = hex_value_ < 0x80 ? static_cast<char>(hex_value_) : '\x7f';
            }
            break;
        }
        }
    }
    return flush();
}

result<void> transcoder::count(std::uint64_t produced)
{
    if (produced > plan_->length - produced_) {
        return mismatch("an output longer than promised");
    }
    produced_ += produced;
    return {};
}

std::unexpected<failure> transcoder::mismatch(std::string_view what)
{
    failure made;
    made.what = code::internal;
    made.from = origin::gateway;
    made.text = "the body could not be translated";
    made.detail = "transcoder: " + std::string(what) + " (range of " + std::to_string(plan_->from.size()) +
                  ", length " + std::to_string(plan_->length) + ", read " + std::to_string(consumed_) +
                  ", written " + std::to_string(produced_) + ")";
    return std::unexpected(std::move(made));
}

} // namespace gw::payloads
