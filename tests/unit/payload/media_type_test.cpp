#include "payload/media_type.hpp"

#include <gtest/gtest.h>

namespace gw::payloads {
namespace {

using namespace std::string_view_literals;

TEST(sniff, known_files)
{
    const std::pair<std::string_view, std::string_view> rows[] = {
        {"\xff\xd8\xff\xe0\0\x10JFIF"sv, "image/jpeg"},
        {"\xff\xd8\xff\xe1\0\x10"sv
         "Exif",
         "image/jpeg"},
        {"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"sv, "image/png"},
        {"RIFF\x24\0\0\0WEBPVP8 "sv, "image/webp"},
        {"GIF87a"sv, "image/gif"},
        {"GIF89a\1\0\1\0"sv, "image/gif"},
        {"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"sv, "image/bmp"},
        {"BM\x3a\0\0\0\0\0\0\0\x8a\0\0\0\x7c\0\0\0"sv, "image/bmp"},
        {"II*\0\x08\0\0\0"sv, "image/tiff"},
        {"MM\0*\0\0\0\x08"sv, "image/tiff"},
        {"RIFF\x24\0\0\0WAVEfmt "sv, "audio/wav"},
        {"fLaC\0\0\0\x22"sv, "audio/flac"},
        {"ID3\4\0\0\0\0\0\0"sv, "audio/mpeg"},
        {"\xff\xfb\x90\x64"sv, "audio/mpeg"},
        {"\xff\xf3\x40\xc0"sv, "audio/mpeg"},
        {"OggS\0\2"sv, "audio/ogg"},
        {"\0\0\0\x20"
         "ftypM4A \0\0\0\0"sv,
         "audio/m4a"},
        {"\0\0\0\x18"
         "ftypmp42"sv,
         "audio/m4a"},
        {"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\1\x42\xf7\x81\1\x42\xf2\x81\4\x42\xf3\x81\x08\x42\x82\x84webm"sv,
         "audio/webm"},
        {"#!AMR\n\x3c"sv, "audio/amr"},
        {"#!AMR-WB\n\x44"sv, "audio/AMR-WB"},
    };
    for (const auto& [bytes, type] : rows) {
        EXPECT_EQ(sniff(bytes), type) << type;
        EXPECT_EQ(sniff(std::string(bytes) + std::string(100, 'x')), type) << type;
    }
}

TEST(sniff, what_is_no_known_file)
{
    for (const std::string_view bytes : {
             ""sv,
             "\xff"sv,
             "\xff\xd8"sv,
             "{\"inputs\":\"x\"}"sv,
             "BMW is a car and this is a text"sv,
             "RIFF\x24\0\0\0AVI LIST"sv,
             "ID3"sv,
             "ID3 is a tag"sv,
             "\xff\xf1\x50\x80"sv, // AAC in ADTS frames: layer 0
             "\xff\xfb\xf0\x64"sv, // a bit rate that does not exist
             "\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska"sv,
             "\0\0\0\x1c"
             "ftypavif"sv,
             "hello"sv,
         }) {
        EXPECT_EQ(sniff(bytes), "") << bytes;
    }
}

TEST(sniff, containers_are_video_where_video_is_wanted)
{
    EXPECT_EQ(
        sniff(
            "\0\0\0\x18"
            "ftypmp42"sv,
            modality::video
        ),
        "video/mp4"
    );
    EXPECT_EQ(sniff("OggS\0\2"sv, modality::video), "video/ogg");
    EXPECT_EQ(sniff("GIF89a"sv, modality::video), "image/gif");
}

TEST(sniff, any_prefix_is_harmless)
{
    const std::string png("\x89PNG\r\n\x1a\n", 8);
    for (std::size_t length = 0; length < png.size(); ++length) {
        EXPECT_EQ(sniff(std::string_view(png).substr(0, length)), "");
    }
}

TEST(canonical, spellings)
{
    const std::pair<std::string_view, std::string_view> rows[] = {
        {"image/png", "image/png"},
        {"Image/PNG; q=1", "image/png"},
        {"image/jpg", "image/jpeg"},
        {" image/jpeg ;charset=binary", "image/jpeg"},
        {"audio/mp3", "audio/mpeg"},
        {"audio/mp4", "audio/m4a"},
        {"audio/x-wav", "audio/wav"},
        {"audio/webm;codecs=opus", "audio/webm"},
        {"audio/AMR-WB", "audio/AMR-WB"},
        {"audio/amr-wb+", "audio/AMR-WB+"},
        {"AUDIO/AMR", "audio/amr"},
        {"image/x-image", "image/x-image"},
        {"video/webm", "video/webm"},
        {"application/pdf", "application/pdf"},
        {"application/octet-stream", ""},
        {"application/x-www-form-urlencoded", ""},
        {"", ""},
        {"png", ""},
    };
    for (const auto& [heard, known] : rows) {
        EXPECT_EQ(canonical(heard), known) << heard;
    }
    EXPECT_EQ(canonical("video/webm", modality::audio), "audio/webm");
    EXPECT_EQ(canonical("video/mp4", modality::audio), "audio/m4a");
    EXPECT_EQ(canonical("video/mp4", modality::video), "video/mp4");
}

// It goes into a Content-Type and into a data: URL, and may come from inside a JSON body.
TEST(canonical, what_is_no_media_type_is_none)
{
    for (const std::string_view bad :
         {"image/png\r\nx-evil: 1",
          "image/png\nx: 1",
          "image/p\"ng",
          "image/p\\ng",
          "image/p ng",
          "image/",
          "/png",
          "/",
          "image/png/x",
          "image\xc3\xa9/png",
          "image/png, text/html"}) {
        EXPECT_EQ(canonical(bad), "") << bad;
    }
    EXPECT_EQ(canonical(std::string_view("image/p\0ng", 10)), "");
    EXPECT_EQ(canonical("model/vnd.x+y; a=\"b\""), "model/vnd.x+y");
}

TEST(canonical, what_sniffing_says_is_canonical)
{
    for (const auto type :
         {"image/jpeg",
          "image/png",
          "image/webp",
          "image/gif",
          "image/bmp",
          "image/tiff",
          "audio/wav",
          "audio/flac",
          "audio/mpeg",
          "audio/ogg",
          "audio/m4a",
          "audio/webm",
          "audio/amr",
          "audio/AMR-WB"}) {
        EXPECT_EQ(canonical(type), type);
    }
}

TEST(json_or_not, content_types_and_first_bytes)
{
    for (const auto type :
         {"application/json",
          "application/json; charset=utf-8",
          "Application/JSON",
          "text/json",
          "application/problem+json",
          "application/vnd.api+json;v=1"}) {
        EXPECT_TRUE(is_json(type)) << type;
    }
    for (const auto type : {"", "application/jsonp", "text/plain", "image/svg+json", "json"}) {
        EXPECT_FALSE(is_json(type)) << type;
    }
    for (const auto body : {"{", " \r\n\t{\"a\":1}", "[1]", "\"text\""}) {
        EXPECT_TRUE(looks_like_json(body)) << body;
    }
    for (const auto body : {"", "   ", "\x89PNG", "ID3", "hello", "\xef\xbb\xbf{}"}) {
        EXPECT_FALSE(looks_like_json(body)) << body;
    }
}

TEST(modalities, of_types)
{
    EXPECT_EQ(modality_of("image/png"), modality::image);
    EXPECT_EQ(modality_of("audio/AMR-WB"), modality::audio);
    EXPECT_EQ(modality_of("video/mp4"), modality::video);
    EXPECT_EQ(modality_of("application/json"), modality::json);
    EXPECT_EQ(modality_of("application/pdf"), modality::any);
}

struct accept_row
{
    std::string_view field;
    modality output;
    bool json;
    bool binary;
    bool prefers_json;
    std::string_view type;
    std::string_view why;
};

TEST(accept, table)
{
    const accept_row rows[] = {
        {"", modality::image, true, true, false, "", "no field accepts everything"},
        {"*/*", modality::image, true, true, false, "", "what curl and both Hugging Face clients say"},
        {"image/png", modality::image, false, true, false, "image/png", "huggingface_hub for text-to-image"},
        {"application/json", modality::image, true, false, false, "", "what openai-node says"},
        {"application/octet-stream", modality::audio, false, true, false, "", "openai audio.speech"},
        {"application/json, image/*;q=0.5", modality::image, true, true, true, "", "JSON is liked better"},
        {"image/*, application/json;q=0.5", modality::image, true, true, false, "", "bytes are liked better"},
        {"*/*, application/json;q=0", modality::image, false, true, false, "", "q=0 refuses"},
        {"*/*;q=0.1, image/*;q=0", modality::image, true, false, false, "", "the more specific range decides"
        },
        {"image/jpeg;q=0.2, image/webp;q=0.9",
         modality::image,
         false,
         true,
         false,
         "image/webp",
         "the best named type"},
        {"audio/flac", modality::image, false, false, false, "", "the wrong modality"},
        {"audio/mp3", modality::audio, false, true, false, "audio/mpeg", "spelled as upstreams know it"},
        {"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
         modality::image,
         true,
         true,
         false,
         "image/gif",
         "Java's URLConnection, whose q is malformed and counts as 1"},
        {"APPLICATION/JSON;Q=1", modality::json, true, false, false, "", "case does not matter"},
        {"application/json;profile=\"a,b\", image/png;q=0",
         modality::image,
         true,
         false,
         false,
         "",
         "a quoted comma"},
        {"application/*", modality::image, true, false, false, "", "a half wildcard"},
        {",,", modality::image, true, true, false, "", "nothing readable accepts everything"},
        {"nonsense", modality::image, true, true, false, "", "nothing readable accepts everything"},
        {"*/*", modality::text, true, true, false, "", "a text answer"},
    };
    for (const auto& row : rows) {
        const auto made = parse_accept(row.field, row.output);
        EXPECT_EQ(made.json, row.json) << row.field << ": " << row.why;
        EXPECT_EQ(made.binary, row.binary) << row.field << ": " << row.why;
        EXPECT_EQ(made.prefers_json, row.prefers_json) << row.field << ": " << row.why;
        EXPECT_EQ(made.media_type, row.type) << row.field << ": " << row.why;
    }
    EXPECT_TRUE(parse_accept("text/event-stream", modality::text).event_stream);
    EXPECT_FALSE(parse_accept("application/json", modality::text).event_stream);
}

} // namespace
} // namespace gw::payloads
