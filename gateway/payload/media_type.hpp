// Media types: told from the first bytes, brought to the spelling that upstreams know, asked for in Accept.
// Pure functions; never throw for any input but want of memory.
#pragma once

#include "payload/modality.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace gw::payloads {

// More bytes than this never change what sniff() says.
inline constexpr std::size_t sniff_bytes = 64;

// The media type that these first bytes of a payload show, in the spelling of canonical(); "" when unknown.
// Images: JPEG, PNG, WebP, GIF, BMP, TIFF. Audio: WAV, FLAC, MP3 (ID3 or a frame), OGG, M4A, WebM, AMR,
// AMR-WB. Containers that hold audio or video (WebM, MP4, OGG) are called what `wanted` asks for; audio when
// it does not say.
[[nodiscard]] std::string_view sniff(std::string_view first_bytes, modality wanted = modality::any);

// A Content-Type without parameters, in lower case, in the spelling that the inference toolkit and its
// relatives look up: `audio/mp3` is `audio/mpeg`, `audio/mp4` is `audio/m4a`, `image/jpg` is `image/jpeg`.
// With an audio task, containers with a video label (`video/webm`) get their audio name.
// "" for what tells nothing about a payload: empty, application/octet-stream, curl's
// application/x-www-form-urlencoded, and whatever is no `type/subtype` of two tokens.
[[nodiscard]] std::string canonical(std::string_view content_type, modality wanted = modality::any);

// The modality of a canonical media type: `image/png` is image; any for what is none of image, audio, video,
// text.
[[nodiscard]] modality modality_of(std::string_view media_type);

// True for application/json, text/json and application/*+json, with any parameters.
[[nodiscard]] bool is_json(std::string_view content_type);

// True when a body without a Content-Type may be JSON: its first byte that is no white space opens an object,
// an array or a string. The caller then scans it; what fails the scan was binary.
[[nodiscard]] bool looks_like_json(std::string_view first_bytes);

// What a client can read, for a task whose output is `output`.
struct acceptance
{
    bool json = true;          // application/json is acceptable
    bool binary = true;        // bytes of the task's output modality are
    bool event_stream = true;  // text/event-stream is
    bool prefers_json = false; // both are, and JSON has the higher q
    std::string
        media_type; // the binary type named with the highest q, canonical; "" when only wildcards were named
};

// RFC 9110 section 12.5.1: the most specific range that matches decides, q=0 refuses. An empty or wholly
// unreadable field accepts everything. A concrete type of the output's modality (`image/png`) or
// application/octet-stream stands for bytes.
[[nodiscard]] acceptance parse_accept(std::string_view accept, modality output);

} // namespace gw::payloads
