// Encoding and decoding agree with a slow reference, in any split; what is decoded is encoded to the same
// text; a refusal of the URL-safe alphabet or of line breaks says so.
#include "payload/base64.hpp"

#include "property.hpp"

#include <optional>
#include <string>

using namespace gw;
using namespace gw::payloads;

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string encode_slowly(std::string_view bytes)
{
    std::string bits;
    for (const char c : bytes) {
        for (int i = 7; i >= 0; --i) {
            bits += (static_cast<unsigned char>(c) >> i & 1) != 0 ? '1' : '0';
        }
    }
    bits.resize((bits.size() + 5) / 6 * 6, '0');
    std::string out;
    for (std::size_t at = 0; at < bits.size(); at += 6) {
        out += alphabet[std::stoul(bits.substr(at, 6), nullptr, 2)];
    }
    return out.append((4 - out.size() % 4) % 4, '=');
}

// Base64 has one spelling, so: what it would have to be is encoded and compared.
std::optional<std::string> decode_slowly(std::string_view text)
{
    std::string bits;
    for (const char c : text.substr(0, text.find('='))) {
        const std::size_t value = alphabet.find(c);
        if (value == std::string_view::npos) {
            return std::nullopt;
        }
        for (int i = 5; i >= 0; --i) {
            bits += (value >> i & 1) != 0 ? '1' : '0';
        }
    }
    std::string out;
    for (std::size_t at = 0; at + 8 <= bits.size(); at += 8) {
        out += static_cast<char>(std::stoul(bits.substr(at, 8), nullptr, 2));
    }
    return encode_slowly(out) == text ? std::optional(out) : std::nullopt;
}

std::string encode(std::string_view bytes, std::size_t size)
{
    base64_encoder encoder;
    std::string out;
    std::string block;
    in_blocks(bytes, size, [&](std::string_view in) {
        block.resize(base64_encoder::max_output(in.size()));
        out += block.substr(0, encoder.feed(in, block.data()));
        return true;
    });
    block.resize(4);
    return out += block.substr(0, encoder.finish(block.data()));
}

struct decoded
{
    std::string bytes, problem;
};

decoded decode(std::string_view text, std::size_t size)
{
    base64_decoder decoder;
    decoded out;
    in_blocks(text, size, [&](std::string_view in) {
        // an exact buffer: the sanitizer sees a byte too many
        const std::unique_ptr<char[]> block(new char[base64_decoder::max_output(in.size())]);
        const result<std::size_t> written = decoder.feed(in, block.get());
        if (!written) {
            out.problem = written.error().text;
            return false;
        }
        out.bytes.append(block.get(), *written);
        return true;
    });
    const result<void> end = decoder.finish();
    if (!end) {
        require(out.problem.empty() || out.problem == end.error().text, "an error is sticky");
        out.problem = end.error().text;
    }
    require(end.has_value() == out.problem.empty(), "an error stays an error at the end");
    return out;
}

} // namespace

GW_FUZZ(input)
{
    const std::string text = encode_slowly(input);
    require(
        encode_base64(input) == text && text.size() == encoded_size(input.size()), "encoded as it should be"
    );
    const std::optional<std::string> slow = decode_slowly(input);
    const result<std::string> whole = decode_base64(input);
    require(whole.has_value() == slow.has_value(), "what is base64");
    require(!whole || *whole == *slow, "decoded as it should be");
    for (const std::size_t size : {1u, 2u, 3u, 5u, 7u, 16u, 61u}) {
        require(encode(input, size) == text, "any split is encoded the same");
        const decoded again = decode(text, size);
        require(again.problem.empty() && again.bytes == input, "decoding undoes encoding");
        const decoded part = decode(input, size);
        require(part.problem == (whole ? "" : whole.error().text), "any split has the same problem");
        require(!whole || part.bytes == *whole, "any split is decoded the same");
    }
    if (!whole) {
        const std::string& why = whole.error().text;
        require(
            whole.error().what == code::invalid_base64 && whole.error().from == origin::client, "whose fault"
        );
        require(
            why.find("byte") != std::string::npos || why.find("length") != std::string::npos, "it says where"
        );
        const std::size_t bad = input.find_first_not_of(alphabet);
        if (bad < input.size() / 4 * 4 && (input[bad] == '-' || input[bad] == '_')) {
            require(why.find("URL-safe") != std::string::npos, "it knows the URL-safe alphabet");
        }
    }
}
