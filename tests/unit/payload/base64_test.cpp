#include "payload/base64.hpp"

#include "payload/base64_kernel.hpp"
#include "sha256.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace gw::payloads {
namespace {

using namespace std::string_view_literals;
using testing::openssl_base64;
using testing::random_bytes;
using testing::sha256;

// Feeds in pieces of the given sizes, in turn.
std::string encode_split(std::string_view bytes, std::initializer_list<std::size_t> sizes)
{
    base64_encoder encoder;
    std::string out;
    auto size = sizes.begin();
    while (!bytes.empty()) {
        const auto part = bytes.substr(0, *size);
        bytes.remove_prefix(part.size());
        std::string room(base64_encoder::max_output(part.size()), '\0');
        out.append(room.data(), encoder.feed(part, room.data()));
        size = size + 1 == sizes.end() ? sizes.begin() : size + 1;
    }
    char last[4];
    out.append(last, encoder.finish(last));
    return out;
}

result<std::string> decode_split(std::string_view text, std::initializer_list<std::size_t> sizes)
{
    base64_decoder decoder;
    std::string out;
    auto size = sizes.begin();
    while (!text.empty()) {
        const auto part = text.substr(0, *size);
        text.remove_prefix(part.size());
        std::string room(base64_decoder::max_output(part.size()), '\0');
        auto written = decoder.feed(part, room.data());
        if (!written) {
            return fail(written);
        }
        out.append(room.data(), *written);
        size = size + 1 == sizes.end() ? sizes.begin() : size + 1;
    }
    auto end = decoder.finish();
    if (!end) {
        return fail(end);
    }
    return out;
}

std::string error_of(std::string_view text)
{
    const auto decoded = decode_base64(text);
    if (decoded) {
        return "decoded";
    }
    EXPECT_EQ(decoded.error().what, code::invalid_base64);
    EXPECT_EQ(decoded.error().from, origin::client);
    return decoded.error().text;
}

TEST(base64, vectors_of_rfc_4648)
{
    const std::pair<std::string_view, std::string_view> rows[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (const auto& [bytes, text] : rows) {
        EXPECT_EQ(encode_base64(bytes), text);
        EXPECT_EQ(decode_base64(text).value_or("failed"), bytes);
    }
}

TEST(base64, agrees_with_openssl_at_every_length_and_split)
{
    for (std::size_t length = 0; length <= 300; ++length) {
        const std::string bytes = random_bytes(length, static_cast<unsigned>(length));
        const std::string expected = openssl_base64(bytes);
        ASSERT_EQ(encoded_size(length), expected.size());
        ASSERT_EQ(encode_base64(bytes), expected) << length;
        ASSERT_EQ(decode_base64(expected).value_or("failed"), bytes) << length;
        for (const std::size_t split : {1U, 2U, 3U, 4U, 5U, 7U, 16U}) {
            ASSERT_EQ(encode_split(bytes, {split}), expected) << length << " in pieces of " << split;
            ASSERT_EQ(decode_split(expected, {split}).value_or("failed"), bytes)
                << length << " in pieces of " << split;
        }
        ASSERT_EQ(encode_split(bytes, {1, 2, 5, 3}), expected);
        ASSERT_EQ(decode_split(expected, {1, 2, 5, 3, 4}).value_or("failed"), bytes);
    }
}

TEST(base64, agrees_with_openssl_around_buffer_edges)
{
    for (const std::size_t edge : {std::size_t{64 * 1024}, std::size_t{256 * 1024}}) {
        for (std::size_t length = edge - 4; length <= edge + 4; ++length) {
            const std::string bytes = random_bytes(length, 7);
            const std::string expected = openssl_base64(bytes);
            ASSERT_EQ(sha256(encode_split(bytes, {65536})), sha256(expected));
            ASSERT_EQ(sha256(encode_split(bytes, {65535, 1})), sha256(expected));
            ASSERT_EQ(sha256(decode_split(expected, {65536}).value_or("")), sha256(bytes));
            ASSERT_EQ(sha256(decode_split(expected, {4095, 65537}).value_or("")), sha256(bytes));
        }
    }
}

TEST(base64, wrong_characters_are_told_with_position_and_hint)
{
    EXPECT_THAT(error_of("Zm9v\nYmFy"), ::testing::HasSubstr("byte 4 is a line break"));
    EXPECT_THAT(error_of("Zm9vYm\r\n"), ::testing::HasSubstr("byte 6 is a line break"));
    EXPECT_THAT(error_of("Zm9-YmFy"), ::testing::HasSubstr("byte 3 is of the URL-safe alphabet"));
    EXPECT_THAT(error_of("_m9vYmFy"), ::testing::HasSubstr("byte 0 is of the URL-safe alphabet"));
    EXPECT_THAT(error_of("Zm9v YmFy"), ::testing::HasSubstr("byte 4 is a blank"));
    EXPECT_THAT(error_of("Zm9v\x80mFy"), ::testing::HasSubstr("byte 4 is not of the base64 alphabet"));
    EXPECT_THAT(error_of("Zm9v\0mFy"sv), ::testing::HasSubstr("byte 4 is not of the base64 alphabet"));
}

TEST(base64, lengths_and_padding_are_strict)
{
    EXPECT_THAT(error_of("Zg"), ::testing::HasSubstr("length 2 is no multiple of four"));
    EXPECT_THAT(error_of("Zg="), ::testing::HasSubstr("length 3 is no multiple of four"));
    EXPECT_THAT(error_of("Zm9vY"), ::testing::HasSubstr("length 5"));
    EXPECT_THAT(error_of("Z==="), ::testing::HasSubstr("byte 1 is padding before the end"));
    EXPECT_THAT(error_of("===="), ::testing::HasSubstr("byte 0 is padding before the end"));
    EXPECT_THAT(error_of("Zg=v"), ::testing::HasSubstr("byte 2 is padding before the end"));
    EXPECT_THAT(error_of("Zg==Zm9v"), ::testing::HasSubstr("text behind the padding at byte 4"));
    EXPECT_THAT(error_of("Zg==="), ::testing::HasSubstr("text behind the padding at byte 4"));
    EXPECT_THAT(error_of("Zh=="), ::testing::HasSubstr("at byte 1, has bits that belong to no byte"));
    EXPECT_THAT(error_of("Zm9="), ::testing::HasSubstr("at byte 2, has bits that belong to no byte"));
    EXPECT_THAT(error_of("Zm-"), ::testing::HasSubstr("byte 2 is of the URL-safe alphabet"));
}

TEST(base64, every_split_gives_the_same_error)
{
    for (const std::string_view text :
         {"Zm9vZm9v\nYmFyZm9v", "Zm9vZg==Zm9v", "Zm9vZh==", "Zm9vZm9vZ", "Zm9vZm9vZ=Zm"}) {
        const std::string whole = error_of(text);
        for (std::size_t split = 1; split <= text.size(); ++split) {
            const auto decoded = decode_split(text, {split});
            ASSERT_FALSE(decoded);
            EXPECT_EQ(decoded.error().text, whole) << "in pieces of " << split;
        }
    }
}

TEST(base64, an_error_is_sticky)
{
    base64_decoder decoder;
    char room[16];
    EXPECT_FALSE(decoder.feed("!!!!", room));
    EXPECT_FALSE(decoder.feed("Zm9v", room));
    EXPECT_FALSE(decoder.finish());
}

TEST(base64, any_changed_byte_is_refused_or_changes_the_payload)
{
    const std::string bytes = random_bytes(41, 3);
    const std::string text = encode_base64(bytes);
    for (std::size_t at = 0; at < text.size(); ++at) {
        for (int value = 0; value < 256; ++value) {
            std::string changed = text;
            changed[at] = static_cast<char>(value);
            if (changed == text) {
                continue;
            }
            const auto decoded = decode_base64(changed);
            if (decoded) {
                EXPECT_NE(*decoded, bytes) << "two spellings of one payload, differing at " << at;
                EXPECT_EQ(encode_base64(*decoded), changed);
            }
        }
    }
}

// The last kernel is the portable one; the vector kernels of machines that have them stand before it.
class kernel : public ::testing::TestWithParam<const base64_kernel*>
{
};

TEST_P(kernel, encodes_and_decodes_inside_its_output)
{
    const base64_kernel& tested = *GetParam();
    for (std::size_t groups = 0; groups <= 200; ++groups) {
        // Exact blocks on the heap, so that the address sanitizer sees a read too far as well.
        const std::string bytes = random_bytes(groups * 3, static_cast<unsigned>(groups));
        const std::vector<std::uint8_t> in(bytes.begin(), bytes.end());
        std::string text(groups * 4 + 1, '#');
        tested.encode_blocks(in.data(), groups, text.data());
        EXPECT_EQ(text.back(), '#');
        text.pop_back();
        EXPECT_EQ(text, openssl_base64(bytes));

        const std::vector<char> exact(text.begin(), text.end());
        std::vector<std::uint8_t> back(groups * 3);
        EXPECT_EQ(tested.decode_blocks(exact.data(), groups, back.data()), groups);
        EXPECT_EQ(back, in);
    }
}

// The bytes do not depend on where the output begins within a line of the cache, nor on whether the text is
// so long (over 16 MiB) that it is written past the caches.
TEST_P(kernel, gives_the_same_bytes_wherever_and_however_much)
{
    const base64_kernel& tested = *GetParam();
    const std::string some = random_bytes(3 * 97, 1);
    const std::string many = random_bytes(3 * ((4U << 20U) + 70'001), 2);
    for (const std::string_view bytes : {std::string_view(some), std::string_view(many)}) {
        const std::size_t groups = bytes.size() / 3;
        const std::string text = openssl_base64(bytes);
        std::string encoded(text.size() + 256, '#');
        std::string decoded(bytes.size() + 256, '#');
        for (std::size_t shift = 0; shift < 64; shift += groups < 1000 ? 1 : 44) {
            std::ranges::fill(encoded, '#');
            std::ranges::fill(decoded, '#');
            tested.encode_blocks(
                reinterpret_cast<const std::uint8_t*>(bytes.data()), groups, encoded.data() + 64 + shift
            );
            const auto read = std::string_view(text);
            auto* to = reinterpret_cast<std::uint8_t*>(decoded.data() + 64 + shift);
            ASSERT_EQ(tested.decode_blocks(read.data(), groups, to), groups);
            const auto around = [&](const std::string& out, std::string_view wanted) {
                return out.substr(64 + shift, wanted.size()) == wanted &&
                       out.find_first_not_of('#') >= 64 + shift &&
                       out.find_last_not_of('#') < 64 + shift + wanted.size();
            };
            ASSERT_TRUE(around(encoded, text)) << groups << " groups, shifted by " << shift;
            ASSERT_TRUE(around(decoded, bytes)) << groups << " groups, shifted by " << shift;
        }
    }
}

TEST_P(kernel, stops_in_a_very_long_text_where_it_is_bad)
{
    const base64_kernel& tested = *GetParam();
    const std::size_t groups = (4U << 20U) + 501;
    std::string text(4 * groups, 'Q');
    std::vector<std::uint8_t> back(3 * groups);
    for (const std::size_t at : {101UL, 1'000'003UL, 4 * groups - 1}) {
        text[at] = '-';
        ASSERT_EQ(tested.decode_blocks(text.data(), groups, back.data()), at / 4) << "byte " << at;
        text[at] = 'Q';
    }
}

TEST_P(kernel, stops_before_the_group_of_a_bad_character)
{
    const base64_kernel& tested = *GetParam();
    for (const std::size_t groups : {1U, 2U, 7U, 8U, 15U, 16U, 17U, 40U, 70U}) {
        const std::string text = openssl_base64(random_bytes(groups * 3, static_cast<unsigned>(groups)));
        std::vector<std::uint8_t> back(groups * 3);
        for (std::size_t at = 0; at < text.size(); ++at) {
            for (const char wrong :
                 {'=', '-', '_', '\n', '\0', '\x7f', '\x80', '\xff', '.', ':', '@', '[', '`', '{'}) {
                std::string bad = text;
                bad[at] = wrong;
                ASSERT_EQ(tested.decode_blocks(bad.data(), groups, back.data()), at / 4)
                    << groups << " groups, byte " << at;
            }
        }
    }
}

TEST_P(kernel, knows_every_byte)
{
    const base64_kernel& tested = *GetParam();
    constexpr std::size_t groups = 32;
    for (int byte = 0; byte < 256; ++byte) {
        const auto character = static_cast<char>(byte);
        const std::string text(groups * 4, character);
        std::vector<std::uint8_t> back(groups * 3);
        const std::size_t good = tested.decode_blocks(text.data(), groups, back.data());
        const std::uint8_t value = base64_value(character);
        ASSERT_EQ(good, value == 0xff ? 0 : groups) << byte;
        if (value != 0xff) {
            const std::uint32_t bits = value * 0x41041U;
            ASSERT_EQ(back[0], bits >> 16U & 0xffU);
            ASSERT_EQ(back[1], bits >> 8U & 0xffU);
            ASSERT_EQ(back[2], bits & 0xffU);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(
    base64,
    kernel,
    ::testing::ValuesIn(kernels().begin(), kernels().end()),
    [](const auto& each) { return std::string(each.param->name); }
);

} // namespace
} // namespace gw::payloads
