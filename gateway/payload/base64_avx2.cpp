// Thirty-two characters at a time with AVX2: arithmetic on ranges of the alphabet instead of tables.
// Method: Mula and Lemire, "Faster Base64 Encoding and Decoding using AVX2 Instructions" (2018).
#include "payload/base64_vector.hpp"

#include <immintrin.h>

namespace gw::payloads {
namespace {

#define FOURWAYS_AVX2 [[gnu::target("avx2")]]

constexpr std::size_t group = 8; // triples, or quads, of one register

FOURWAYS_AVX2 inline __m128i sixteen(const char (&table)[17])
{
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(table)); // NOLINT: the intrinsic's way
}

// A table of sixteen bytes, once for each half: shuffles look a byte up within its own half.
FOURWAYS_AVX2 inline __m256i twice(const char (&table)[17])
{
    return _mm256_broadcastsi128_si256(sixteen(table));
}

// Twelve bytes from the fifth on in the lower half, the next twelve in the upper one.
FOURWAYS_AVX2 inline __m256i encode_register(__m256i around)
{
    // Every triple spread over four bytes: 1 0 2 1.
    const __m256i spread = _mm256_set_m128i(
        sixteen("\1\0\2\1\4\3\5\4\7\6\x8\7\xa\x9\xb\xa"),
        sixteen("\5\4\6\5\x8\7\x9\x8\xb\xa\xc\xb\xe\xd\xf\xe")
    );
    const __m256i bytes = _mm256_shuffle_epi8(around, spread);

    // Six bits to a byte: the odd ones move right, the even ones left, by multiplications.
    const __m256i right = _mm256_mulhi_epu16(
        _mm256_and_si256(bytes, _mm256_set1_epi32(0x0fc0'fc00)), _mm256_set1_epi32(0x0400'0040)
    );
    const __m256i left = _mm256_mullo_epi16(
        _mm256_and_si256(bytes, _mm256_set1_epi32(0x003f'03f0)), _mm256_set1_epi32(0x0100'0010)
    );
    const __m256i sixes = _mm256_or_si256(right, left);

    // What is added to a value for its letter, by range: 0 for A-Z ('A'), 1 for a-z ('a' - 26), 2 to 11 for
    // the digits ('0' - 52), 12 and 13 for + and / ('+' - 62, '/' - 63).
    const __m256i offsets = twice("\x41\x47\xfc\xfc\xfc\xfc\xfc\xfc\xfc\xfc\xfc\xfc\xed\xf0\0\0");
    const __m256i not_upper = _mm256_cmpgt_epi8(sixes, _mm256_set1_epi8(25)); // -1
    const __m256i range = _mm256_sub_epi8(_mm256_subs_epu8(sixes, _mm256_set1_epi8(51)), not_upper);
    return _mm256_add_epi8(sixes, _mm256_shuffle_epi8(offsets, range));
}

FOURWAYS_AVX2 void encode_avx2(const std::uint8_t* in, std::size_t triples, char* out)
{
    // A load begins four bytes early, so the first two triples go another way; and as many more as it takes
    // for stores that cross no line of the cache, where the text can begin so.
    if (triples >= 4 * group) {
        const std::size_t ahead = (-reinterpret_cast<std::uintptr_t>(out)) % 32;
        const std::size_t first = 2 + (ahead % 4 == 0 ? (ahead / 4 + 6) % 8 : 0);
        portable_kernel().encode_blocks(in, first, out);
        in += 3 * first;
        out += 4 * first;
        triples -= first;
        // It ends four bytes behind the last that is used.
#pragma clang loop unroll_count(4)
        for (; triples >= group + 2; triples -= group) {
            const auto* from = reinterpret_cast<const __m256i*>(in - 4); // NOLINT: the intrinsic's way
            _mm256_storeu_si256(
                reinterpret_cast<__m256i*>(out), encode_register(_mm256_loadu_si256(from))
            ); // NOLINT: the same
            in += 3 * group;
            out += 4 * group;
        }
    }
    portable_kernel().encode_blocks(in, triples, out);
}

FOURWAYS_AVX2 std::size_t decode_avx2(const char* in, std::size_t quads, std::uint8_t* out)
{
    // A character is good if the bits of its two halves' entries do not meet.
    const __m256i by_low = twice("\x15\x11\x11\x11\x11\x11\x11\x11\x11\x11\x13\x1a\x1b\x1b\x1b\x1a");
    const __m256i by_high = twice("\x10\x10\1\2\4\x8\4\x8\x10\x10\x10\x10\x10\x10\x10\x10");
    // What is added to a character for its value, by its high half; `/` by one less than that of `+`.
    const __m256i offsets =
        twice("\0\x10\x13\4\xbf\xbf\xb9\xb9\0\0\0\0\0\0\0\0"); // 0, 16, 19, 4, -65, -65, -71, -71
    const __m256i gather = twice("\2\1\0\6\5\4\xa\x9\x8\xe\xd\xc\xff\xff\xff\xff");
    const __m256i slash =
        _mm256_set1_epi8('/'); // 0x2f: also the mask of a half, since look-ups ignore bits 4 to 6
    std::size_t done = 0;

    // A store of 32 bytes for 24, so there has to be room for that.
    for (; quads - done >= group + 3; done += group) {
        const __m256i text =
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in)); // NOLINT: the intrinsic's way
        const __m256i high = _mm256_and_si256(_mm256_srli_epi32(text, 4), slash);
        const __m256i low = _mm256_and_si256(text, slash);
        if (_mm256_testz_si256(_mm256_shuffle_epi8(by_low, low), _mm256_shuffle_epi8(by_high, high)) == 0) {
            break;
        }
        const __m256i range = _mm256_add_epi8(_mm256_cmpeq_epi8(text, slash), high);
        const __m256i sixes = _mm256_add_epi8(text, _mm256_shuffle_epi8(offsets, range));
        const __m256i twelves = _mm256_maddubs_epi16(sixes, _mm256_set1_epi32(0x0140'0140));
        const __m256i words = _mm256_madd_epi16(twelves, _mm256_set1_epi32(0x0001'1000));
        const __m256i bytes = _mm256_permutevar8x32_epi32(
            _mm256_shuffle_epi8(words, gather), _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7)
        );
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes); // NOLINT: the intrinsic's way
        in += 4 * group;
        out += 3 * group;
    }
    return done + portable_kernel().decode_blocks(in, quads - done, out);
}

} // namespace

const base64_kernel avx2_kernel{
    .name = "avx2",
    .encode_blocks = encode_avx2,
    .decode_blocks = decode_avx2,
};

} // namespace gw::payloads
