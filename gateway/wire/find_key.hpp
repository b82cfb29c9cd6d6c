// Finds a word that begins and ends with rare neighbours, such as a JSON key with its quotes, in a short
// text: sixteen places at a time, by its first and its last byte. (memchr by the first byte alone would stop
// at each of the text's quotes; memmem prepares a table first.) Pure.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace gw::wire {

// As text.find(what, from). REQUIRES `what` has two bytes or more.
[[nodiscard]] inline std::size_t find_key(std::string_view text, std::string_view what, std::size_t from = 0)
{
#if defined(__SSE2__)
    constexpr std::size_t width = 16;
    const std::size_t last = what.size() - 1;
    if (text.size() >= last + width && from <= text.size() - last - width) {
        const std::size_t end = text.size() - last; // of the places where it can begin
        const __m128i front = _mm_set1_epi8(what.front());
        const __m128i back = _mm_set1_epi8(what.back());
        for (std::size_t at = from; at < end; at += width) {
            at = at + width > end ? end - width : at; // the last step looks at some places again
            const auto* const here = reinterpret_cast<const __m128i*>(text.data() + at);
            const auto* const there = reinterpret_cast<const __m128i*>(text.data() + at + last);
            const __m128i both = _mm_and_si128(
                _mm_cmpeq_epi8(_mm_loadu_si128(here), front), _mm_cmpeq_epi8(_mm_loadu_si128(there), back)
            );
            for (auto hits = static_cast<unsigned>(_mm_movemask_epi8(both)); hits != 0; hits &= hits - 1) {
                const std::size_t place = at + static_cast<std::size_t>(std::countr_zero(hits));
                if (std::memcmp(text.data() + place + 1, what.data() + 1, last - 1) == 0) {
                    return place;
                }
            }
        }
        return std::string_view::npos;
    }
#endif
    return text.find(what, from);
}

[[nodiscard]] inline bool has_key(std::string_view text, std::string_view what)
{
    return find_key(text, what) != std::string_view::npos;
}

} // namespace gw::wire
