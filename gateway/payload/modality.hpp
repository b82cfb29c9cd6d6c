// What kind of thing a task takes or gives.
#pragma once

#include <cstdint>
#include <string_view>

namespace gw {

enum class modality : std::uint8_t {
    text,  // a string, or a list of strings
    json,  // an object, a table, numbers: any JSON value
    image, // bytes, or base64 of them
    audio,
    video,
    any, // not known, or of every kind
};
[[nodiscard]] std::string_view to_string(modality value);

// True for what travels as bytes.
[[nodiscard]] constexpr bool is_binary(modality value)
{
    return value == modality::image || value == modality::audio || value == modality::video;
}

} // namespace gw
