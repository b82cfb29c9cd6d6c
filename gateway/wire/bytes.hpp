// Byte classes and the fast searches that the scanners share. Internal to wire/: nothing outside includes it.
// Each search has one meaning in two versions: 16 bytes at a time with SSE2, else 8 at a time in a plain
// register.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace gw::wire::bytes {

// What a byte may be part of; `underscore` stands beside `token` so that one OR over a name tells whether it
// holds one.
enum : std::uint8_t {
    token = 1,
    underscore = 2,
    visible = 4,
    digit = 8,
    host = 16,
    plain = 32,
    unescaped = 64, // in a JSON string
};

inline constexpr std::array<std::uint8_t, 256> classes = [] {
    std::array<std::uint8_t, 256> made{};
    const auto add = [&made](std::string_view set, std::uint8_t bits) {
        for (const char c : set) {
            made[static_cast<unsigned char>(c)] =
                static_cast<std::uint8_t>(made[static_cast<unsigned char>(c)] | bits);
        }
    };
    add("0123456789", digit | token | host | plain);
    add("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", token | host | plain);
    add("!#$%&'*+-.^_`|~", token);
    add("_", underscore);
    add("-._~", host | plain);
    for (std::size_t c = 0x20; c <= 0x7e; ++c) {
        const bool escaped = c == '"' || c == '\\';
        made[c] = static_cast<std::uint8_t>(made[c] | (c == 0x20 ? 0 : visible) | (escaped ? 0 : unescaped));
    }
    return made;
}();

[[nodiscard]] constexpr std::uint8_t class_of(char c)
{
    return classes[static_cast<unsigned char>(c)];
}

[[nodiscard]] constexpr char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

// 0 to 15, or -1.
[[nodiscard]] constexpr int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char low = static_cast<char>(c | 0x20);
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

// Whether a field name equals `known`, which is all lowercase letters and `-`. REQUIRES equal sizes and a
// valid name (then setting bit 5 maps nothing else onto those bytes).
[[nodiscard]] inline bool is_name(std::string_view name, std::string_view known)
{
    std::size_t i = 0;
    for (; i + 8 <= name.size(); i += 8) {
        std::uint64_t a = 0;
        std::uint64_t b = 0;
        std::memcpy(&a, name.data() + i, 8);
        std::memcpy(&b, known.data() + i, 8);
        if ((a | 0x2020202020202020u) != b) {
            return false;
        }
    }
    for (; i < name.size(); ++i) {
        if ((name[i] | 0x20) != known[i]) {
            return false;
        }
    }
    return true;
}

inline constexpr std::uint64_t ones = 0x0101010101010101u;
inline constexpr std::uint64_t highs = 0x8080808080808080u;

// The high bit of every byte that is zero, exact up to and including the first such byte.
[[nodiscard]] constexpr std::uint64_t zero_bytes(std::uint64_t word)
{
    return (word - ones) & ~word & highs;
}

// Runs `hit16(vector) -> mask`, `hit8(word) -> mask of high bits` and `hit1(byte)` over [at, end): the first
// hit, else end.
template <class Hit8, class Hit1>
[[nodiscard]] inline const char* search8(const char* at, const char* end, Hit8 hit8, Hit1 hit1)
{
    if constexpr (std::endian::native == std::endian::little) {
        for (; end - at >= 8; at += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, at, 8);
            if (const std::uint64_t mask = hit8(word); mask != 0) {
                return at + std::countr_zero(mask) / 8;
            }
        }
    }
    while (at != end && !hit1(static_cast<unsigned char>(*at))) {
        ++at;
    }
    return at;
}

// The first control byte (below 0x20, or DEL) of [at, end), else end.
[[nodiscard]] inline const char* find_control(const char* at, const char* end)
{
#if defined(__SSE2__)
    const __m128i limit = _mm_set1_epi8(0x1f);
    const __m128i del = _mm_set1_epi8(0x7f);
    for (; end - at >= 16; at += 16) {
        const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const __m128i hit =
            _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(block, limit), block), _mm_cmpeq_epi8(block, del));
        if (const int mask = _mm_movemask_epi8(hit); mask != 0) {
            return at + std::countr_zero(static_cast<unsigned>(mask));
        }
    }
#endif
    return search8(
        at,
        end,
        [](std::uint64_t word) {
            const std::uint64_t low = (word - ones * 0x20) & ~word & highs;
            return low | zero_bytes(word ^ (ones * 0x7f));
        },
        [](unsigned char c) { return c < 0x20 || c == 0x7f; }
    );
}

// The first byte of [at, end) that ends a run of plain JSON string text: `"`, `\`, control bytes, bytes >=
// 0x80; else end.
[[nodiscard]] inline const char* find_string_stop(const char* at, const char* end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(0x20);
    for (; end - at >= 16; at += 16) {
        const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const __m128i low = _mm_cmplt_epi8(block, space); // signed: bytes >= 0x80 too
        const __m128i mark = _mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, slash));
        if (const int mask = _mm_movemask_epi8(_mm_or_si128(low, mark)); mask != 0) {
            return at + std::countr_zero(static_cast<unsigned>(mask));
        }
    }
#endif
    return search8(
        at,
        end,
        [](std::uint64_t word) {
            const std::uint64_t low = (word - ones * 0x20) & ~word & highs;
            return low | (word & highs) | zero_bytes(word ^ (ones * '"')) | zero_bytes(word ^ (ones * '\\'));
        },
        [](unsigned char c) { return c < 0x20 || c >= 0x80 || c == '"' || c == '\\'; }
    );
}

// The first CR or LF of [at, end), else end.
[[nodiscard]] inline const char* find_line_end(const char* at, const char* end)
{
#if defined(__SSE2__)
    const __m128i cr = _mm_set1_epi8('\r');
    const __m128i lf = _mm_set1_epi8('\n');
    for (; end - at >= 16; at += 16) {
        const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(block, cr), _mm_cmpeq_epi8(block, lf));
        if (const int mask = _mm_movemask_epi8(hit); mask != 0) {
            return at + std::countr_zero(static_cast<unsigned>(mask));
        }
    }
#endif
    return search8(
        at,
        end,
        [](std::uint64_t word) {
            return zero_bytes(word ^ (ones * '\r')) | zero_bytes(word ^ (ones * '\n'));
        },
        [](unsigned char c) { return c == '\r' || c == '\n'; }
    );
}

// The size (2 to 4) of the UTF-8 character of several bytes at `at`, 0 if it is none. REQUIRES 4 readable
// bytes and a first byte >= 0x80. Overlong forms, surrogates and anything past U+10FFFF are none (RFC 3629
// section 4).
[[nodiscard]] inline std::size_t utf8_size(const char* at)
{
    const auto byte = [at](int i) { return static_cast<unsigned char>(at[i]); };
    const auto more = [&byte](int i) { return (byte(i) & 0xc0) == 0x80; };
    const unsigned char first = byte(0);
    if (first < 0xc2) {
        return 0;
    }
    if (first < 0xe0) {
        return more(1) ? 2 : 0;
    }
    if (first < 0xf0) {
        if (!more(1) || !more(2) || (first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f)) {
            return 0;
        }
        return 3;
    }
    if (first > 0xf4 || !more(1) || !more(2) || !more(3) || (first == 0xf0 && byte(1) < 0x90) ||
        (first == 0xf4 && byte(1) > 0x8f)) {
        return 0;
    }
    return 4;
}

// The same within [at, end): also 0 if the character is cut short.
[[nodiscard]] inline std::size_t utf8_size(const char* at, const char* end)
{
    if (end - at >= 4) {
        return utf8_size(at);
    }
    char padded[4] = {}; // zeros continue no character
    std::memcpy(padded, at, static_cast<std::size_t>(end - at));
    return utf8_size(padded);
}

// A byte for people: `x`, or 0x1f.
[[nodiscard]] inline std::string shown(char c)
{
    if ((class_of(c) & visible) != 0) {
        return std::string{"`"} + c + '`';
    }
    if (c == ' ') {
        return "a space";
    }
    constexpr std::string_view digits = "0123456789abcdef";
    const auto value = static_cast<unsigned char>(c);
    return std::string{"byte 0x"} + digits[value >> 4] + digits[value & 15];
}

} // namespace gw::wire::bytes
