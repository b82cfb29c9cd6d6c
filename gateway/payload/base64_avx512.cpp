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

// From so many triples or quads on (16 MiB of text) the stores go past the caches, as those of memory copies
// do: what was written first would be out of them anyway, and no line has to be read to be overwritten.
constexpr std::size_t past_caches = 4 << 20;

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

// Up to sixteen triples.
FOURWAYS_AVX512 inline void
encode_some(const std::uint8_t* in, std::size_t triples, char* out, __m512i spreading, __m512i letters)
{
    const __m512i bytes = _mm512_maskz_loadu_epi8(~0ULL >> (64 - 3 * triples), in);
    _mm512_mask_storeu_epi8(out, ~0ULL >> (64 - 4 * triples), encode_register(bytes, spreading, letters));
}

FOURWAYS_AVX512 void encode_avx512(const std::uint8_t* in, std::size_t triples, char* out)
{
    const __m512i spreading = load(spread.data());
    const __m512i letters = load(base64_alphabet.data());

    // Stores that cross no cache line, where the text can begin so.
    const std::size_t ahead = (-reinterpret_cast<std::uintptr_t>(out)) % 64;
    if (ahead != 0 && ahead % 4 == 0 && triples >= 4 * group) {
        encode_some(in, ahead / 4, out, spreading, letters);
        in += ahead / 4 * 3;
        out += ahead;
        triples -= ahead / 4;
    }
    // A load of 64 bytes for 48, so that many have to be there.
    const bool aligned = reinterpret_cast<std::uintptr_t>(out) % 64 == 0;
    if (aligned && triples >= past_caches) {
        for (; triples >= group + 6; triples -= group) {
            _mm512_stream_si512(
                reinterpret_cast<__m512i*>(out), encode_register(load(in), spreading, letters)
            );
            in += 3 * group;
            out += 4 * group;
        }
        _mm_sfence();
    }
    for (; triples >= group + 6; triples -= group) {
        _mm512_storeu_si512(out, encode_register(load(in), spreading, letters));
        in += 3 * group;
        out += 4 * group;
    }
    while (triples > 0) {
        const std::size_t now = std::min(triples, group);
        encode_some(in, now, out, spreading, letters);
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

// Four times 48 bytes as three whole registers: for each, which eighths of two neighbours.
constexpr std::array<std::array<std::int64_t, 8>, 3> joints{{
    {0, 1, 2, 3, 4, 5, 8, 9},
    {2, 3, 4, 5, 8, 9, 10, 11},
    {4, 5, 8, 9, 10, 11, 12, 13},
}};

struct decoder
{
    __m512i low;
    __m512i high;
    __m512i gathering;
};

// `bad` grows by the characters that are outside the alphabet: the table's top bit, or the text's own, which
// the table does not look at.
FOURWAYS_AVX512 inline __m512i decode_register(__m512i text, const decoder& by, __m512i& bad)
{
    const __m512i sixes = _mm512_permutex2var_epi8(by.low, text, by.high);
    bad = _mm512_or_si512(bad, _mm512_or_si512(sixes, text));
    return pack(sixes, by.gathering);
}

// The whole of a very long text but its end, past the caches.
//   returns  how many quads were decoded; stops before 64 of which one is bad
FOURWAYS_AVX512 std::size_t
decode_past_caches(const char* in, std::size_t quads, std::uint8_t* out, const decoder& by)
{
    const __m512i first = load(joints[0].data());
    const __m512i second = load(joints[1].data());
    const __m512i third = load(joints[2].data());
    std::size_t done = 0;
    for (; quads - done >= 4 * group; done += 4 * group) {
        __m512i bad = _mm512_setzero_si512();
        const __m512i a = decode_register(load(in), by, bad);
        const __m512i b = decode_register(load(in + 64), by, bad);
        const __m512i c = decode_register(load(in + 128), by, bad);
        const __m512i d = decode_register(load(in + 192), by, bad);
        if (_mm512_movepi8_mask(bad) != 0) {
            break;
        }
        auto* to = reinterpret_cast<__m512i*>(out);
        _mm512_stream_si512(to, _mm512_permutex2var_epi64(a, first, b));
        _mm512_stream_si512(to + 1, _mm512_permutex2var_epi64(b, second, c));
        _mm512_stream_si512(to + 2, _mm512_permutex2var_epi64(c, third, d));
        in += 256;
        out += 192;
    }
    _mm_sfence();
    return done;
}

FOURWAYS_AVX512 std::size_t
decode_some(const char* in, std::size_t quads, std::uint8_t* out, const decoder& by)
{
    std::size_t done = 0;
    // A store of 64 bytes for 48, so there has to be room for that.
    for (; quads - done >= group + 6; done += group) {
        __m512i bad = _mm512_setzero_si512();
        const __m512i bytes = decode_register(load(in), by, bad);
        if (_mm512_movepi8_mask(bad) != 0) {
            break;
        }
        _mm512_storeu_si512(out, bytes);
        in += 4 * group;
        out += 3 * group;
    }
    while (done < quads) {
        const std::size_t now = std::min(quads - done, group);
        const __m512i text = _mm512_mask_loadu_epi8(_mm512_set1_epi8('A'), ~0ULL >> (64 - 4 * now), in);
        __m512i bad = _mm512_setzero_si512();
        const __m512i bytes = decode_register(text, by, bad);
        const __mmask64 where = _mm512_movepi8_mask(bad);
        const auto good = std::min<std::size_t>(now, static_cast<unsigned>(std::countr_zero(where)) / 4);
        if (good != 0) {
            _mm512_mask_storeu_epi8(out, ~0ULL >> (64 - 3 * good), bytes);
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

FOURWAYS_AVX512 std::size_t decode_avx512(const char* in, std::size_t quads, std::uint8_t* out)
{
    const decoder by{
        .low = load(base64_values.data()),
        .high = load(base64_values.data() + 64),
        .gathering = load(gather.data()),
    };
    std::size_t done = 0;
    if (quads >= past_caches) {
        // Three bytes a quad: 43 times that is one more than a multiple of 64, so the line's start is found.
        const std::size_t ahead = (-reinterpret_cast<std::uintptr_t>(out)) % 64 * 43 % 64;
        done = decode_some(in, ahead, out, by);
        if (done < ahead) {
            return done;
        }
        done += decode_past_caches(in + 4 * done, quads - done, out + 3 * done, by);
    }
    return done + decode_some(in + 4 * done, quads - done, out + 3 * done, by);
}

} // namespace

const base64_kernel avx512_kernel{
    .name = "avx512vbmi",
    .encode_blocks = encode_avx512,
    .decode_blocks = decode_avx512,
};

} // namespace gw::payloads
