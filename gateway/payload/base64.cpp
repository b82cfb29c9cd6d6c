#include "payload/base64.hpp"

#include "payload/base64_kernel.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace gw::payloads {
namespace {

const std::uint8_t* bytes_of(std::string_view text)
{
    return reinterpret_cast<const std::uint8_t*>(text.data());
}

// What a wrong character tells about its sender.
std::string describe(char character)
{
    switch (character) {
    case '-':
    case '_':
        return "is of the URL-safe alphabet: use the standard one, with '+' and '/'";
    case '\n':
    case '\r':
        return "is a line break: send base64 in one piece, without line breaks";
    case ' ':
    case '\t':
        return "is a blank: send base64 without blanks (was a '+' decoded as a form's space?)";
    case '=':
        return "is padding before the end";
    default:
        return "is not of the base64 alphabet";
    }
}

} // namespace

std::size_t base64_encoder::feed(std::string_view in, char* out)
{
    const auto& kernel = best_kernel();
    char* const start = out;

    // The triple that an earlier call began.
    if (carried_ > 0) {
        std::uint8_t triple[3] = {carry_[0], carry_[1], 0};
        while (carried_ < 3 && !in.empty()) {
            triple[carried_++] = static_cast<std::uint8_t>(in.front());
            in.remove_prefix(1);
        }
        if (carried_ < 3) {
            carry_[0] = triple[0];
            carry_[1] = triple[1];
            return 0;
        }
        kernel.encode_blocks(triple, 1, out);
        out += 4;
        carried_ = 0;
    }

    const std::size_t triples = in.size() / 3;
    kernel.encode_blocks(bytes_of(in), triples, out);
    out += triples * 4;
    in.remove_prefix(triples * 3);

    for (const char each : in) {
        carry_[carried_++] = static_cast<std::uint8_t>(each);
    }
    return static_cast<std::size_t>(out - start);
}

std::size_t base64_encoder::finish(char* out)
{
    if (carried_ == 0) {
        return 0;
    }
    const std::uint8_t triple[3] = {carry_[0], carried_ > 1 ? carry_[1] : std::uint8_t{0}, 0};
    best_kernel().encode_blocks(triple, 1, out);
    out[3] = '=';
    if (carried_ == 1) {
        out[2] = '=';
    }
    carried_ = 0;
    return 4;
}

result<std::size_t> base64_decoder::feed(std::string_view in, char* out)
{
    if (!error_.empty()) {
        return refuse(code::invalid_base64, error_);
    }
    char* const start = out;

    // The group that an earlier call began.
    if (carried_ > 0) {
        const std::size_t taken = std::min(4 - carried_, in.size());
        std::memcpy(carry_ + carried_, in.data(), taken);
        carried_ += taken;
        position_ += taken;
        in.remove_prefix(taken);
        if (carried_ < 4) {
            return 0;
        }
        carried_ = 0;
        auto written = last_group(carry_, position_ - 4, out);
        if (!written) {
            return written;
        }
        out += *written;
    }

    while (in.size() >= 4) {
        if (padded_) {
            return bad("text behind the padding at byte " + std::to_string(position_));
        }
        const std::size_t quads = in.size() / 4;
        const std::size_t good =
            best_kernel().decode_blocks(in.data(), quads, reinterpret_cast<std::uint8_t*>(out));
        out += good * 3;
        position_ += good * 4;
        in.remove_prefix(good * 4);
        if (good == quads) {
            break;
        }
        // A group that is padded, or wrong.
        auto written = last_group(in.data(), position_, out);
        if (!written) {
            return written;
        }
        out += *written;
        position_ += 4;
        in.remove_prefix(4);
    }

    if (!in.empty() && padded_) {
        return bad("text behind the padding at byte " + std::to_string(position_));
    }
    std::memcpy(carry_, in.data(), in.size());
    carried_ = in.size();
    position_ += in.size();
    return static_cast<std::size_t>(out - start);
}

result<std::size_t> base64_decoder::last_group(const char* four, std::uint64_t at, char* out)
{
    if (padded_) {
        return bad("text behind the padding at byte " + std::to_string(at));
    }

    // Padding stands in the last one or two places only.
    std::size_t real = 4;
    if (four[3] == '=') {
        real = four[2] == '=' ? 2 : 3;
    }
    std::uint32_t bits = 0;
    for (std::size_t place = 0; place < 4; ++place) {
        const std::uint8_t value = place < real ? base64_value(four[place]) : std::uint8_t{0};
        if (value == 0xff) {
            return bad("the character at byte " + std::to_string(at + place) + " " + describe(four[place]));
        }
        bits = bits << 6U | value;
    }

    // The bits that no byte takes must be zero, so that each payload has one spelling.
    const std::uint32_t unused = real == 4 ? 0U : real == 3 ? 0xffU : 0xffffU;
    if ((bits & unused) != 0) {
        return bad(
            "the last character before the padding, at byte " + std::to_string(at + real - 1) +
            ", has bits that belong to no byte: the text was cut or is not canonical"
        );
    }
    padded_ = real < 4;
    for (std::size_t byte = 0; byte + 1 < real; ++byte) {
        out[byte] = static_cast<char>(bits >> (16U - 8U * byte) & 0xffU);
    }
    return real - 1;
}

result<void> base64_decoder::finish()
{
    if (!error_.empty()) {
        return refuse(code::invalid_base64, error_);
    }
    if (carried_ != 0) {
        // A wrong character says more than a wrong length.
        for (std::size_t place = 0; place < carried_; ++place) {
            if (base64_value(carry_[place]) == 0xff && carry_[place] != '=') {
                return bad(
                    "the character at byte " + std::to_string(position_ - carried_ + place) + " " +
                    describe(carry_[place])
                );
            }
        }
        return bad(
            "its length " + std::to_string(position_) +
            " is no multiple of four: the text was cut, or its padding ('=') is missing"
        );
    }
    return {};
}

std::unexpected<failure> base64_decoder::bad(std::string text)
{
    error_ = "invalid base64: " + std::move(text);
    return refuse(code::invalid_base64, error_);
}

std::string encode_base64(std::string_view bytes)
{
    std::string out;
    base64_encoder encoder;
    out.resize_and_overwrite(encoded_size(bytes.size()), [&](char* to, std::size_t) {
        const std::size_t written = encoder.feed(bytes, to);
        return written + encoder.finish(to + written);
    });
    return out;
}

result<std::string> decode_base64(std::string_view text)
{
    std::string out;
    base64_decoder decoder;
    result<void> end;
    out.resize_and_overwrite(base64_decoder::max_output(text.size()), [&](char* to, std::size_t) {
        auto written = decoder.feed(text, to);
        end = decoder.finish();
        return written ? *written : 0;
    });
    if (!end) {
        return fail(end);
    }
    return out;
}

} // namespace gw::payloads
