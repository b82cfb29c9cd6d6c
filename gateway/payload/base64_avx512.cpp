// Sixty-four characters at a time with AVX-512 VBMI, whose byte permutations look up a whole alphabet at
// once. Method: Mula and Lemire, "Base64 encoding and decoding at almost the speed of a memory copy" (2020).
#include "payload/base64_vector.hpp"

#include <array>
#include <bit>
#include <immintrin.h>

namespace gw::payloads {
namespace {

#define FOURWAYS_AVX512 [[gnu::target("avx512f,avx512bw,avx512vbmi")]]

constexpr std::size_t group = 16; // triples, or quads, of one register

// Which byte of the input each output byte is cut from: 1 0 2 1 for every triple.
constexpr auto spread = [] {
    std::array<std::uint8_t, 64> made{};
    for (std::uint8_t quad = 0; quad < group; ++quad) {
        const auto at = static_cast<std::uint8_t>(3 * quad);
        made[4U * quad] = static_cast<std::uint8_t>(at + 1);
        made[4U * quad + 1] = at;
        made[4U * quad + 2] = static_cast<std::uint8_t>(at + 2);
        made[4U * quad + 3] = static_cast<std::uint8_t>(at + 1);
    }
    return made;
}();

// The three good bytes of every four, in the order of the text; the last sixteen do not matter.
constexpr auto gather = [] {
    std::array<std::uint8_t, 64> made{};
    for (std::uint8_t quad = 0; quad < group; ++quad) {
        const auto at = static_cast<std::uint8_t>(4 * quad);
        made[3U * quad] = static_cast<std::uint8_t>(at + 2);
        made[3U * quad + 1] = static_cast<std::uint8_t>(at + 1);
        made[3U * quad + 2] = at;
    }
    return made;
}();

FOURWAYS_AVX512 inline __m512i load(const void* from)
{
    return _mm512_loadu_si512(from);
}

FOURWAYS_AVX512 inline __m512i encode_register(__m512i bytes, __m512i spreading, __m512i letters)
{
    // Eight shifts of six bits out of each half of the spread triples.
    const __m512i shifts = _mm512_set1_epi64(0x3036'242a'1016'040aLL);
    const __m512i sixes = _mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi8(spreading, bytes));
    return _mm512_permutexvar_epi8(sixes, letters); // looks at the low six bits only
}

FOURWAYS_AVX512 void encode_avx512(const std::uint8_t* in, std::size_t triples, char* out)
{
    const __m512i spreading = load(spread.data());
    const __m512i letters = load(base64_alphabet.data());

    // A load of 64 bytes for 48, so that many have to be there.
    for (; triples >= group + 6; triples -= group) {
        _mm512_storeu_si512(out, encode_register(load(in), spreading, letters));
        in += 3 * group;
        out += 4 * group;
    }
    while (triples > 0) {
        const std::size_t now = std::min(triples, group);
        const __m512i bytes = _mm512_maskz_loadu_epi8(~0ULL >> (64 - 3 * now), in);
        _mm512_mask_storeu_epi8(out, ~0ULL >> (64 - 4 * now), encode_register(bytes, spreading, letters));
        in += 3 * now;
        out += 4 * now;
        triples -= now;
    }
}

// Four values of six bits become three bytes, and those move together.
FOURWAYS_AVX512 inline __m512i pack(__m512i sixes, __m512i gathering)
{
    const __m512i twelves = _mm512_maddubs_epi16(sixes, _mm512_set1_epi32(0x0140'0140));
    const __m512i words = _mm512_madd_epi16(twelves, _mm512_set1_epi32(0x0001'1000));
    return _mm512_permutexvar_epi8(gathering, words);
}

FOURWAYS_AVX512 std::size_t decode_avx512(const char* in, std::size_t quads, std::uint8_t* out)
{
    const __m512i low = load(base64_values.data());
    const __m512i high = load(base64_values.data() + 64);
    const __m512i gathering = load(gather.data());
    std::size_t done = 0;

    // A store of 64 bytes for 48, so there has to be room for that.
    for (; quads - done >= group + 6; done += group) {
        const __m512i text = load(in);
        const __m512i sixes = _mm512_permutex2var_epi8(low, text, high);
        // Outside the alphabet: the table's top bit, or the text's own, which the table does not look at.
        const __mmask64 bad = _mm512_movepi8_mask(_mm512_or_si512(sixes, text));
        if (bad != 0) {
            break;
        }
        _mm512_storeu_si512(out, pack(sixes, gathering));
        in += 4 * group;
        out += 3 * group;
    }
    while (done < quads) {
        const std::size_t now = std::min(quads - done, group);
        const __m512i text = _mm512_mask_loadu_epi8(_mm512_set1_epi8('A'), ~0ULL >> (64 - 4 * now), in);
        const __m512i sixes = _mm512_permutex2var_epi8(low, text, high);
        const __mmask64 bad = _mm512_movepi8_mask(_mm512_or_si512(sixes, text));
        const auto good = std::min<std::size_t>(now, static_cast<unsigned>(std::countr_zero(bad)) / 4);
        if (good != 0) {
            _mm512_mask_storeu_epi8(out, ~0ULL >> (64 - 3 * good), pack(sixes, gathering));
        }
        done += good;
        if (good < now) {
            break;
        }
        in += 4 * now;
        out += 3 * now;
    }
    return done;
}

} // namespace

const base64_kernel avx512_kernel{
    .name = "avx512vbmi",
    .encode_blocks = encode_avx512,
    .decode_blocks = decode_avx512,
};

} // namespace gw::payloads
