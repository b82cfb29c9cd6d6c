#include "wire/base64_letters.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gw::wire {
namespace {

// The top bit of every byte that is no letter.
constexpr auto other = [] {
    std::array<std::uint8_t, 256> made{};
    for (std::size_t byte = 0; byte < made.size(); ++byte) {
        const bool letter = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                            (byte >= '0' && byte <= '9') || byte == '+' || byte == '/';
        made[byte] = letter ? 0 : 0x80;
    }
    return made;
}();

std::uint8_t look_up(const char* at)
{
    return other[static_cast<unsigned char>(*at)];
}

const char* skip_portable(const char* at, const char* end)
{
    for (; end - at >= 8; at += 8) {
        unsigned any = 0;
        for (std::ptrdiff_t i = 0; i < 8; ++i) {
            any |= look_up(at + i);
        }
        if (any != 0) {
            break;
        }
    }
    while (at != end && look_up(at) == 0) {
        ++at;
    }
    return at;
}

constexpr letters_kernel portable{.name = "portable", .skip = skip_portable};

#if defined(__x86_64__)

// ---- AVX2: a character is a letter if the bits of its two halves' entries do not meet ----
// (Mula and Lemire, "Faster Base64 Encoding and Decoding using AVX2 Instructions", 2018)

#define FOURWAYS_AVX2 [[gnu::target("avx2")]]

FOURWAYS_AVX2 inline __m256i twice(const char (&table)[17])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
}

// Not zero where a byte is no letter.
FOURWAYS_AVX2 inline __m256i others_avx2(const char* at, __m256i by_low, __m256i by_high)
{
    const __m256i half = _mm256_set1_epi8(0x0f);
    const __m256i text = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    const __m256i high = _mm256_and_si256(_mm256_srli_epi32(text, 4), half);
    const __m256i low = _mm256_and_si256(text, half);
    return _mm256_and_si256(_mm256_shuffle_epi8(by_low, low), _mm256_shuffle_epi8(by_high, high));
}

FOURWAYS_AVX2 const char* skip_avx2(const char* at, const char* end)
{
    const __m256i by_low = twice("\x15\x11\x11\x11\x11\x11\x11\x11\x11\x11\x13\x1a\x1b\x1b\x1b\x1a");
    const __m256i by_high = twice("\x10\x10\1\2\4\x8\4\x8\x10\x10\x10\x10\x10\x10\x10\x10");
    for (; end - at >= 128; at += 128) {
        const __m256i first =
            _mm256_or_si256(others_avx2(at, by_low, by_high), others_avx2(at + 32, by_low, by_high));
        const __m256i second =
            _mm256_or_si256(others_avx2(at + 64, by_low, by_high), others_avx2(at + 96, by_low, by_high));
        const __m256i any = _mm256_or_si256(first, second);
        if (_mm256_testz_si256(any, any) == 0) {
            break;
        }
    }
    for (; end - at >= 32; at += 32) {
        const __m256i any = others_avx2(at, by_low, by_high);
        if (_mm256_testz_si256(any, any) == 0) {
            break;
        }
    }
    return skip_portable(at, end);
}

constexpr letters_kernel avx2{.name = "avx2", .skip = skip_avx2};

// ---- AVX-512 VBMI: the whole table in two registers ----

#define FOURWAYS_AVX512 [[gnu::target("avx512f,avx512bw,avx512vbmi")]]

// The top bit where a byte is no letter: the table's, or the text's own, which the look-up ignores.
FOURWAYS_AVX512 inline __m512i others_avx512(const char* at, __m512i low, __m512i high)
{
    const __m512i text = _mm512_loadu_si512(at);
    return _mm512_or_si512(text, _mm512_permutex2var_epi8(low, text, high));
}

FOURWAYS_AVX512 const char* skip_avx512(const char* at, const char* end)
{
    const __m512i low = _mm512_loadu_si512(other.data());
    const __m512i high = _mm512_loadu_si512(other.data() + 64);
    for (; end - at >= 256; at += 256) {
        const __m512i first =
            _mm512_or_si512(others_avx512(at, low, high), others_avx512(at + 64, low, high));
        const __m512i second =
            _mm512_or_si512(others_avx512(at + 128, low, high), others_avx512(at + 192, low, high));
        if (_mm512_movepi8_mask(_mm512_or_si512(first, second)) != 0) {
            break;
        }
    }
    for (; end - at >= 64; at += 64) {
        if (_mm512_movepi8_mask(others_avx512(at, low, high)) != 0) {
            break;
        }
    }
    return skip_portable(at, end);
}

constexpr letters_kernel avx512{.name = "avx512vbmi", .skip = skip_avx512};

#endif

} // namespace

std::span<const letters_kernel* const> letters_kernels()
{
    static const auto found = [] {
        std::vector<const letters_kernel*> made;
#if defined(__x86_64__)
        // The compiler's run-time asks the processor, and the system whether it saves the registers.
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vbmi")) {
            made.push_back(&avx512);
        }
        if (__builtin_cpu_supports("avx2")) {
            made.push_back(&avx2);
        }
#endif
        made.push_back(&portable);
        return made;
    }();
    return found;
}

const char* skip_base64_letters(const char* at, const char* end)
{
    static const auto skip = letters_kernels().front()->skip;
    return skip(at, end);
}

} // namespace gw::wire
