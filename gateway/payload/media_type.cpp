#include "payload/media_type.hpp"

#include "wire/field.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <utility>

namespace gw {

std::string_view to_string(modality value)
{
    switch (value) {
    case modality::text:
        return "text";
    case modality::json:
        return "json";
    case modality::image:
        return "image";
    case modality::audio:
        return "audio";
    case modality::video:
        return "video";
    case modality::any:
        return "any";
    }
    return "any";
}

} // namespace gw

namespace gw::payloads {
namespace {

using namespace std::string_view_literals;

std::string_view trimmed(std::string_view text)
{
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

std::string lower(std::string_view text)
{
    std::string made(text);
    for (char& each : made) {
        if (each >= 'A' && each <= 'Z') {
            each = static_cast<char>(each - 'A' + 'a');
        }
    }
    return made;
}

// `Image/PNG; q=1` to `image/png`
std::string bare(std::string_view content_type)
{
    return lower(trimmed(content_type.substr(0, content_type.find(';'))));
}

// What stands at an offset, as far as the bytes go.
std::string_view at(std::string_view bytes, std::size_t offset, std::size_t length)
{
    return offset <= bytes.size() ? bytes.substr(offset, length) : std::string_view{};
}

unsigned byte_at(std::string_view bytes, std::size_t offset)
{
    return offset < bytes.size() ? static_cast<unsigned char>(bytes[offset]) : 0U;
}

// An MPEG audio frame header (ISO 11172-3 section 2.4.1.3): sync, a version, layer III, II or I, a bit rate
// and a sampling rate that exist. ADTS AAC has layer 0 and is none.
bool is_mpeg_audio_frame(std::string_view bytes)
{
    if (bytes.size() < 4) {
        return false;
    }
    const unsigned second = byte_at(bytes, 1);
    const unsigned third = byte_at(bytes, 2);
    return byte_at(bytes, 0) == 0xff && (second & 0xe0U) == 0xe0U && (second & 0x18U) != 0x08U &&
           (second & 0x06U) != 0 && (third & 0xf0U) != 0xf0U && (third & 0x0cU) != 0x0cU;
}

struct spelling
{
    std::string_view heard;
    std::string_view known;
};

// Sorted by what is heard.
constexpr std::array spellings{
    spelling{
        "audio/aac", "audio/m4a"
    }, // the toolkit has no name for bare AAC; its decoder looks at the bytes
    spelling{"audio/aacp", "audio/m4a"},
    spelling{"audio/amr-wb", "audio/AMR-WB"}, // looked up with capitals
    spelling{"audio/amr-wb+", "audio/AMR-WB+"},
    spelling{"audio/mp3", "audio/mpeg"},
    spelling{"audio/mp4", "audio/m4a"},
    spelling{"audio/mpeg3", "audio/mpeg"},
    spelling{"audio/mpg", "audio/mpeg"},
    spelling{"audio/opus", "audio/ogg"},
    spelling{"audio/vnd.wave", "audio/wav"},
    spelling{"audio/vorbis", "audio/ogg"},
    spelling{"audio/wave", "audio/wav"},
    spelling{"audio/x-aac", "audio/m4a"},
    spelling{"audio/x-flac", "audio/flac"},
    spelling{"audio/x-m4a", "audio/m4a"},
    spelling{"audio/x-mp3", "audio/mpeg"},
    spelling{"audio/x-mpeg", "audio/mpeg"},
    spelling{"audio/x-mpeg-3", "audio/mpeg"},
    spelling{"audio/x-ogg", "audio/ogg"},
    spelling{"audio/x-pn-wav", "audio/wav"},
    spelling{"audio/x-wav", "audio/wav"},
    spelling{"image/jpg", "image/jpeg"},
    spelling{"image/pjpeg", "image/jpeg"},
    spelling{"image/tif", "image/tiff"},
    spelling{"image/x-bmp", "image/bmp"},
    spelling{"image/x-ms-bmp", "image/bmp"},
    spelling{"image/x-png", "image/png"},
    spelling{"image/x-tiff", "image/tiff"},
    spelling{"image/x-windows-bmp", "image/bmp"},
};
static_assert(std::ranges::is_sorted(spellings, {}, &spelling::heard));

constexpr std::array audio_of_video{
    spelling{"application/mp4", "audio/m4a"},
    spelling{"application/ogg", "audio/ogg"},
    spelling{"video/mp4", "audio/m4a"},
    spelling{"video/ogg", "audio/ogg"},
    spelling{"video/webm", "audio/webm"},
};

constexpr std::array video_of_audio{
    spelling{"audio/m4a", "video/mp4"},
    spelling{"audio/ogg", "video/ogg"},
    spelling{"audio/webm", "video/webm"},
};

std::string_view look_up(auto& table, std::string_view heard)
{
    const auto found = std::ranges::find(table, heard, &spelling::heard);
    return found != table.end() ? found->known : std::string_view{};
}

// RFC 9110 section 8.3.1. What is no media type may hold line breaks and quotes, and this goes into heads and
// data: URLs.
bool is_media_type(std::string_view bare_type)
{
    const auto slash = bare_type.find('/');
    return slash != std::string_view::npos && wire::valid_name(bare_type.substr(0, slash)) &&
           wire::valid_name(bare_type.substr(slash + 1));
}

bool says_nothing(std::string_view type)
{
    constexpr std::array vague{
        "application/binary"sv,
        "application/octet-stream"sv,
        "application/x-binary"sv,
        "application/x-www-form-urlencoded"sv, // what curl --data-binary says of a picture
        "binary/octet-stream"sv,
        "*/*"sv,
    };
    return std::ranges::find(vague, type) != vague.end();
}

std::string_view sniff_any(std::string_view bytes)
{
    if (bytes.starts_with("\xff\xd8\xff"sv)) {
        return "image/jpeg";
    }
    if (bytes.starts_with("\x89PNG\r\n\x1a\n"sv)) {
        return "image/png";
    }
    if (bytes.starts_with("GIF87a"sv) || bytes.starts_with("GIF89a"sv)) {
        return "image/gif";
    }
    if (bytes.starts_with("II*\0"sv) || bytes.starts_with("MM\0*"sv) || bytes.starts_with("II+\0"sv) ||
        bytes.starts_with("MM\0+"sv)) {
        return "image/tiff";
    }
    if (bytes.starts_with("RIFF"sv) || bytes.starts_with("RF64"sv)) {
        const auto kind = at(bytes, 8, 4);
        if (kind == "WEBP"sv) {
            return "image/webp";
        }
        return kind == "WAVE"sv ? "audio/wav" : "";
    }
    // "BM" alone is two letters of any text: the file's reserved words are zero, and its header has one of
    // the known sizes.
    if (bytes.starts_with("BM"sv) && at(bytes, 6, 4) == "\0\0\0\0"sv && at(bytes, 15, 3) == "\0\0\0"sv) {
        constexpr std::array sizes{12U, 16U, 40U, 52U, 56U, 64U, 108U, 124U};
        return std::ranges::find(sizes, byte_at(bytes, 14)) != sizes.end() ? "image/bmp" : "";
    }
    if (bytes.starts_with("fLaC"sv)) {
        return "audio/flac";
    }
    if (bytes.starts_with("OggS"sv)) {
        return "audio/ogg";
    }
    if (bytes.starts_with("#!AMR-WB\n"sv)) {
        return "audio/AMR-WB";
    }
    if (bytes.starts_with("#!AMR\n"sv)) {
        return "audio/amr";
    }
    if (bytes.starts_with("ID3"sv) && byte_at(bytes, 3) < 0x10U && bytes.size() > 3) {
        return "audio/mpeg";
    }
    // Matroska (EBML): the document type stands in the first bytes; Matroska itself has no name that
    // upstreams know.
    if (bytes.starts_with("\x1a\x45\xdf\xa3"sv)) {
        return at(bytes, 0, sniff_bytes).find("webm"sv) != std::string_view::npos ? "audio/webm" : "";
    }
    // ISO base media (MP4): still pictures in the same container are not among what upstreams know.
    if (at(bytes, 4, 4) == "ftyp"sv) {
        constexpr std::array pictures{"avif"sv, "avis"sv, "heic"sv, "heix"sv, "heif"sv, "mif1"sv, "msf1"sv};
        return std::ranges::find(pictures, at(bytes, 8, 4)) == pictures.end() ? "audio/m4a" : "";
    }
    return is_mpeg_audio_frame(bytes) ? "audio/mpeg" : "";
}

// q of RFC 9110 section 12.4.2 in thousandths; nullopt when it is malformed.
std::optional<int> parse_quality(std::string_view text)
{
    if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) {
        return std::nullopt;
    }
    int value = (text[0] - '0') * 1000;
    if (text.size() == 1) {
        return value;
    }
    if (text[1] != '.') {
        return std::nullopt;
    }
    int unit = 100;
    for (const char each : text.substr(2)) {
        if (each < '0' || each > '9') {
            return std::nullopt;
        }
        value += (each - '0') * unit;
        unit /= 10;
    }
    return value <= 1000 ? std::optional{value} : std::nullopt;
}

struct media_range
{
    std::string type; // `image/*`
    int quality = 1000;
};

std::optional<media_range> parse_range(std::string_view element)
{
    media_range made{.type = bare(element)};
    const auto slash = made.type.find('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == made.type.size()) {
        // A lone `*` is what Java's URLConnection says for everything.
        if (made.type != "*") {
            return std::nullopt;
        }
        made.type = "*/*";
    }
    auto rest = element;
    while (rest.contains(';')) {
        rest.remove_prefix(rest.find(';') + 1);
        const auto parameter = trimmed(rest.substr(0, rest.find(';')));
        if (parameter.size() >= 2 && (parameter[0] == 'q' || parameter[0] == 'Q') && parameter[1] == '=') {
            made.quality = parse_quality(parameter.substr(2)).value_or(1000);
        }
    }
    return made;
}

// Calls `use` with each element of a comma-separated list; a comma inside quotes separates nothing.
template <class Use>
void for_each_element(std::string_view list, Use use)
{
    bool quoted = false;
    std::size_t begin = 0;
    for (std::size_t here = 0; here <= list.size(); ++here) {
        if (here == list.size() || (list[here] == ',' && !quoted)) {
            const auto element = trimmed(list.substr(begin, here - begin));
            if (!element.empty()) {
                use(element);
            }
            begin = here + 1;
        } else if (list[here] == '\\' && quoted) {
            ++here;
        } else if (list[here] == '"') {
            quoted = !quoted;
        }
    }
}

// How specific a range is for a type: 2 exact, 1 `image/*`, 0 `*/*`, -1 no match.
int specificity(std::string_view range, std::string_view type)
{
    if (range == type) {
        return 2;
    }
    if (range == "*/*") {
        return 0;
    }
    return range.ends_with("/*") && type.starts_with(range.substr(0, range.size() - 1)) ? 1 : -1;
}

// The quality of the most specific range that matches; nullopt: none does.
struct best_match
{
    int specific = -1;
    int quality = 0;

    void offer(int specific_now, int quality_now)
    {
        if (specific_now < 0 || specific_now < specific) {
            return;
        }
        quality = specific_now == specific ? std::max(quality, quality_now) : quality_now;
        specific = specific_now;
    }
    [[nodiscard]] int q() const { return specific < 0 ? 0 : quality; }
};

} // namespace

std::string_view sniff(std::string_view first_bytes, modality wanted)
{
    const auto found = sniff_any(first_bytes);
    if (wanted == modality::video) {
        if (const auto video = look_up(video_of_audio, found); !video.empty()) {
            return video;
        }
    }
    return found;
}

std::string canonical(std::string_view content_type, modality wanted)
{
    std::string type = bare(content_type);
    if (says_nothing(type) || !is_media_type(type)) {
        return {};
    }
    if (const auto known = look_up(spellings, type); !known.empty()) {
        type = known;
    }
    if (wanted == modality::audio) {
        if (const auto audio = look_up(audio_of_video, type); !audio.empty()) {
            type = audio;
        }
    }
    return type;
}

modality modality_of(std::string_view media_type)
{
    const auto kind = lower(media_type.substr(0, media_type.find('/')));
    if (kind == "image") {
        return modality::image;
    }
    if (kind == "audio") {
        return modality::audio;
    }
    if (kind == "video") {
        return modality::video;
    }
    if (kind == "text") {
        return modality::text;
    }
    return is_json(media_type) ? modality::json : modality::any;
}

bool is_json(std::string_view content_type)
{
    if (content_type == "application/json") {
        return true;
    }
    const std::string type = bare(content_type);
    return type == "application/json" || type == "text/json" ||
           (type.starts_with("application/") && type.ends_with("+json"));
}

bool looks_like_json(std::string_view first_bytes)
{
    const auto first = first_bytes.find_first_not_of(" \t\r\n");
    return first != std::string_view::npos && "{[\""sv.contains(first_bytes[first]);
}

acceptance parse_accept(std::string_view accept, modality output)
{
    best_match json;
    best_match events;
    best_match wild_binary; // the output's modality as a whole: `image/*`, `*/*`
    int named = -1;         // the best quality of a concrete binary type
    int octets = -1;
    std::string name;
    bool any = false;

    const std::string whole = std::string(to_string(output)) + "/";
    const bool binary_output = is_binary(output);
    for_each_element(accept, [&](std::string_view element) {
        const auto range = parse_range(element);
        if (!range) {
            return;
        }
        any = true;
        json.offer(specificity(range->type, "application/json"), range->quality);
        events.offer(specificity(range->type, "text/event-stream"), range->quality);
        if (range->type == "*/*") {
            wild_binary.offer(0, range->quality);
        } else if (binary_output && range->type == whole + "*") {
            wild_binary.offer(1, range->quality);
        } else if (range->type == "application/octet-stream") {
            octets = std::max(octets, range->quality);
        } else if (binary_output && range->type.starts_with(whole)) {
            if (range->quality > named) {
                named = range->quality;
                name = canonical(range->type, output);
            }
        }
    });
    if (!any) {
        return {};
    }

    // A refused type (`image/gif;q=0`) refuses only itself: the rest of its modality is up to the wildcards.
    const int binary = std::max({wild_binary.q(), named, octets, 0});
    acceptance made;
    made.json = json.q() > 0;
    made.binary = binary > 0;
    made.event_stream = events.q() > 0;
    made.prefers_json = made.json && made.binary && json.q() > binary;
    if (named > 0) {
        made.media_type = std::move(name);
    }
    return made;
}

} // namespace gw::payloads
