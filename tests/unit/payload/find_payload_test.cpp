#include "payload/find_payload.hpp"

#include "payload/base64.hpp"
#include "payload/transcode.hpp"
#include "sha256.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gw::payloads {
namespace {

using namespace std::string_view_literals;
using ::testing::HasSubstr;
using testing::random_bytes;
using testing::sha256;

const std::string png = std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"sv) + random_bytes(500, 1);

// A body as the gateway has it: scanned, with the members' texts; `at_hand` bytes of it can still be peeked
// at.
struct body
{
    std::string text;
    wire::json_index index;
    std::vector<member_text> members;
    std::size_t at_hand;

    explicit body(std::string json, std::size_t peekable = std::string::npos)
        : text(std::move(json)), at_hand(peekable)
    {
        wire::json_scanner scanner;
        EXPECT_TRUE(scanner.feed(text));
        auto found = scanner.finish();
        EXPECT_TRUE(found) << text.substr(0, 200);
        index = std::move(found).value_or(wire::json_index{});
        for (const auto& each : index.members) {
            const auto where = std::string_view(text).substr(each.where.begin, each.where.size());
            members.push_back({.name = each.key, .where = each.where, .text = each.holds_long ? ""sv : where}
            );
        }
    }

    result<std::optional<payload>> find(std::string_view task) const
    {
        const task_info* known = task.empty() ? nullptr : find_task(task);
        EXPECT_EQ(known == nullptr, task.empty());
        return find_payload(index, members, known, [this](byte_range range) -> std::string_view {
            return range.end <= at_hand ? std::string_view(text).substr(range.begin, range.size()) : ""sv;
        });
    }
};

// What the found range decodes to.
std::string bytes_of(const body& from, const payload& found)
{
    const auto plan = piece::decode(found.where, found.escaped, found.size);
    transcoder machine(plan);
    std::string out;
    const auto fed =
        machine.feed(std::string_view(from.text).substr(found.where.begin, found.where.size()), out);
    EXPECT_TRUE(fed) << fed.error().text << fed.error().detail;
    const auto ended = machine.finish(out);
    EXPECT_TRUE(ended) << ended.error().text << ended.error().detail;
    return out;
}

void expect_found(const body& from, std::string_view task, std::string_view bytes, std::string_view type)
{
    const auto found = from.find(task);
    ASSERT_TRUE(found) << found.error().text;
    ASSERT_TRUE(*found) << from.text.substr(0, 100) << " for " << task;
    EXPECT_EQ((*found)->as, payload::form::base64);
    EXPECT_EQ((*found)->size, bytes.size());
    EXPECT_EQ((*found)->media_type, type);
    EXPECT_EQ(sha256(bytes_of(from, **found)), sha256(bytes));
}

void expect_none(const body& from, std::string_view task)
{
    const auto found = from.find(task);
    ASSERT_TRUE(found) << found.error().text;
    EXPECT_FALSE(*found) << from.text.substr(0, 100) << " for " << task;
}

failure expect_error(const body& from, std::string_view task, code what)
{
    const auto found = from.find(task);
    if (found) {
        ADD_FAILURE() << "no error: " << from.text.substr(0, 100);
        return {};
    }
    EXPECT_EQ(found.error().what, what) << found.error().text;
    EXPECT_EQ(found.error().from, origin::client);
    return found.error();
}

// As PHP's json_encode writes it.
std::string php(std::string text)
{
    std::string made;
    for (const char each : text) {
        made += each == '/' ? "\\/" : std::string(1, each);
    }
    return made;
}

std::string in_quotes(std::string_view text)
{
    return "\"" + std::string(text) + "\"";
}

// The same bodies once short and once with a string that is too long to be looked at.
class find_payload_sizes : public ::testing::TestWithParam<std::size_t>
{
protected:
    std::string bytes = png + random_bytes(GetParam(), 2);
    std::string text = encode_base64(bytes);
};
INSTANTIATE_TEST_SUITE_P(
    short_and_long, find_payload_sizes, ::testing::Values(0, 1, 2, 60'000, 60'001, 60'002)
);

TEST_P(find_payload_sizes, inputs_is_a_string)
{
    const body sent(R"({"inputs":)" + in_quotes(text) + R"(,"parameters":{"top_k":3}})");
    expect_found(sent, "image-classification", bytes, "image/png");
    expect_none(sent, "text-classification");
    const auto found = sent.find("image-classification");
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->member, sent.index.find("inputs")->where);
}

TEST_P(find_payload_sizes, blanks_and_other_members_around_it)
{
    expect_found(
        body("{\n \"options\": {\"wait_for_model\": true},\n \"inputs\" : " + in_quotes(text) + " \n}"),
        "object-detection",
        bytes,
        "image/png"
    );
}

TEST_P(find_payload_sizes, data_url)
{
    const body sent(R"({"inputs":"data:image/jpg;base64,)" + text + "\"}");
    expect_found(
        sent, "image-classification", bytes, "image/jpeg"
    ); // what was declared, as upstreams spell it
    expect_found(sent, "", bytes, "image/jpeg");
    const auto found = sent.find("image-classification");
    ASSERT_TRUE(found && *found);
    EXPECT_EQ(sent.text.substr((*found)->where.begin, 5), "iVBOR");
}

TEST_P(find_payload_sizes, a_key_that_is_no_text_hides_nothing)
{
    const body sent(R"({"inputs":{"image":"Zm9v","im\ud800age":"Zm9v","image":)" + in_quotes(text) + "}}");
    expect_found(sent, "image-classification", bytes, "image/png");
}

TEST_P(find_payload_sizes, data_url_with_an_endless_type_is_none)
{
    const body sent(R"({"inputs":"data:)" + std::string(150, 'a') + ";base64," + text + "\"}");
    expect_none(sent, "");
    expect_error(sent, "image-classification", code::wrong_modality);
}

TEST_P(find_payload_sizes, data_url_without_a_type)
{
    expect_found(
        body(R"({"inputs":"DATA:;BASE64,)" + text + "\"}"), "image-classification", bytes, "image/png"
    );
    expect_found(
        body(R"({"inputs":"data:image/png;charset=x;base64,)" + text + "\"}"),
        "image-classification",
        bytes,
        "image/png"
    );
}

TEST_P(find_payload_sizes, escapes)
{
    const body sent(R"({"inputs":")" + php(text) + "\"}");
    expect_found(sent, "image-classification", bytes, "image/png");
    const auto found = sent.find("image-classification");
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->escaped, text.contains('/'));
}

TEST_P(find_payload_sizes, data_url_with_escapes)
{
    expect_found(
        body(R"({"inputs":")" + php("data:image/png;base64," + text) + "\"}"),
        "image-classification",
        bytes,
        "image/png"
    );
    expect_found(
        body(R"({"inputs":"data\u003aimage\/png\u003bbase64,)" + text + "\"}"),
        "image-classification",
        bytes,
        "image/png"
    );
}

TEST_P(find_payload_sizes, data_url_with_escapes_that_left_memory)
{
    const body sent(R"({"inputs":")" + php("data:image/png;base64," + text) + "\"}", 0);
    expect_found(sent, "image-classification", bytes, "image/png");
}

TEST_P(find_payload_sizes, native_object)
{
    const std::string json =
        R"({"model":"m","inputs":{"base64":)" + in_quotes(text) + R"(,"media_type":"image/x-png"}})";
    expect_found(body(json), "image-classification", bytes, "image/png");
    expect_found(body(json), "", bytes, "image/png");
    expect_found(
        body(R"({"inputs":{"media_type":"audio/mp3","base64":)" + in_quotes(text) + "}}"),
        "",
        bytes,
        "audio/mpeg"
    );
    expect_found(body(R"({"inputs":{"base64":)" + in_quotes(text) + "}}"), "", bytes, "image/png");
}

TEST_P(find_payload_sizes, question_beside_the_image)
{
    const body sent(R"({"inputs":{"question":"who?","image":)" + in_quotes(text) + R"(},"parameters":{}})");
    expect_found(sent, "visual-question-answering", bytes, "image/png");
    expect_found(sent, "document-question-answering", bytes, "image/png");
    expect_found(sent, "", bytes, "image/png");
    const auto found = sent.find("visual-question-answering");
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->member, sent.index.find("inputs")->where);
}

TEST_P(find_payload_sizes, image_twice_as_huggingface_hub_sends_it)
{
    const body sent(
        R"({"inputs":)" + in_quotes(text) + R"(,"parameters":{},"question":"who?","image":)" +
        in_quotes(text) + "}"
    );
    expect_found(sent, "visual-question-answering", bytes, "image/png");
    const auto found = sent.find("visual-question-answering");
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->member, sent.index.find("inputs")->where);
}

TEST_P(find_payload_sizes, at_the_root)
{
    const body sent(R"({"image":)" + in_quotes(text) + R"(,"parameters":{}})");
    expect_found(sent, "image-classification", bytes, "image/png");
    const auto found = sent.find("image-classification");
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->member, sent.index.find("image")->where);
    expect_found(
        body(R"({"inputs":null,"image":)" + in_quotes(text) + "}"), "image-classification", bytes, "image/png"
    );
}

TEST_P(find_payload_sizes, unknown_task_and_known_first_bytes)
{
    expect_found(body(R"({"inputs":)" + in_quotes(text) + "}"), "", bytes, "image/png");
}

TEST_P(find_payload_sizes, text_cut_at_the_end)
{
    const auto cut = std::string_view(text).substr(0, text.size() - 1);
    const auto why = expect_error(
        body(R"({"inputs":)" + in_quotes(cut) + "}"), "image-classification", code::invalid_base64
    );
    EXPECT_THAT(why.text, HasSubstr("`inputs`"));
    EXPECT_THAT(why.text, HasSubstr("multiple of four"));
}

TEST_P(find_payload_sizes, line_breaks_and_the_other_alphabet)
{
    std::string broken = text;
    broken.insert(76, "\\n");
    EXPECT_THAT(
        expect_error(
            body(R"({"inputs":)" + in_quotes(broken) + "}"), "image-classification", code::invalid_base64
        )
            .text,
        HasSubstr("byte 76 is a line break")
    );
    std::string url_safe = text;
    url_safe[7] = '_';
    EXPECT_THAT(
        expect_error(body(R"({"inputs":{"base64":)" + in_quotes(url_safe) + "}}"), "", code::invalid_base64)
            .text,
        HasSubstr("byte 7 is of the URL-safe alphabet")
    );
}

TEST_P(find_payload_sizes, media_type_that_left_memory_is_sniffed)
{
    const std::string json = R"({"inputs":{"base64":)" + in_quotes(text) + R"(,"media_type":"image/webp"}})";
    expect_found(
        body(json, 0), "image-classification", bytes, GetParam() < 1000 ? "image/webp" : "image/png"
    );
}

TEST(find_payload, decoded_size_for_every_padding)
{
    for (std::size_t length = 0; length < 40; ++length) {
        const std::string bytes = random_bytes(length, static_cast<unsigned>(length));
        expect_found(
            body(R"({"inputs":)" + in_quotes(encode_base64(bytes)) + "}"),
            "automatic-speech-recognition",
            bytes,
            ""
        );
        const std::string big = bytes + std::string(66'000, 'x');
        const body sent(R"({"inputs":)" + in_quotes(encode_base64(big)) + "}");
        const auto found = sent.find("automatic-speech-recognition");
        ASSERT_TRUE(found && *found);
        EXPECT_EQ((*found)->size, big.size());
    }
}

TEST(find_payload, web_addresses_pass)
{
    for (const auto address :
         {"http://example.com/cat.png", "https://example.com/cat.png", "HTTPS://EXAMPLE.COM/a"}) {
        expect_none(body(R"({"inputs":")" + std::string(address) + "\"}"), "image-classification");
        expect_none(body(R"({"inputs":")" + php(address) + "\"}"), "automatic-speech-recognition");
        expect_none(
            body(R"({"inputs":{"image":")" + std::string(address) + R"(","question":"who"}})"),
            "visual-question-answering"
        );
    }
    expect_none(body(R"({"inputs":"https://a/?)" + std::string(70'000, 'x') + "\"}"), "image-classification");
}

TEST(find_payload, text_where_an_image_belongs)
{
    for (const auto text :
         {"a photo of a cat", "cat.png", "C:/pictures/cat.png", "\u00e9t\u00e9 \u00e0 Paris"}) {
        const auto why = expect_error(
            body(R"({"inputs":")" + std::string(text) + "\"}"), "image-classification", code::wrong_modality
        );
        EXPECT_THAT(why.text, HasSubstr("`inputs` is a text, but image-classification takes an image"));
    }
    expect_error(
        body(R"({"inputs":"once upon a time )" + std::string(70'000, 'x') + "\"}"),
        "image-to-text",
        code::wrong_modality
    );
}

TEST(find_payload, text_without_a_task_is_data)
{
    for (const auto text : {"a photo of a cat", "aGVsbG8=", "//something", "Zm9vYmFy", ""}) {
        expect_none(body(R"({"inputs":")" + std::string(text) + "\"}"), "");
    }
    expect_none(body(R"({"inputs":")" + std::string(80'000, 'x') + "\"}"), "");
}

TEST(find_payload, other_inputs_pass)
{
    for (const auto json :
         {R"({})",
          R"({"inputs":3})",
          R"({"inputs":["a","b"]})",
          R"({"inputs":{}})",
          R"([1])",
          R"("x")",
          R"({"inputs":{"image":{"base64":"aGVsbG8="}}})",
          R"({"inputs":{"base64":3}})",
          R"({"parameters":{"image":"aGVsbG8="}})"}) {
        expect_none(body(json), "image-classification");
    }
    expect_none(body(R"({"inputs":{"question":"who","context":"me"}})"), "question-answering");
}

TEST(find_payload, native_object_must_hold_base64)
{
    expect_error(body(R"({"inputs":{"base64":"https://example.com/a.png"}})"), "", code::invalid_base64);
    expect_error(body(R"({"inputs":{"base64":"a cat"}})"), "image-classification", code::invalid_base64);
}

TEST(find_payload, data_url_that_is_not_base64)
{
    const auto why = expect_error(
        body(R"({"inputs":"data:image/svg+xml,<svg/>"})"), "image-classification", code::invalid_base64
    );
    EXPECT_THAT(why.text, HasSubstr("data: URL"));
    expect_none(body(R"({"inputs":"data:image/svg+xml,<svg/>"})"), "");
}

TEST(find_payload, too_much_padding)
{
    expect_error(body(R"({"inputs":"Zm9vZ==="})"), "image-classification", code::invalid_base64);
    expect_error(
        body(R"({"inputs":")" + std::string(69'997, 'A') + "===\"}"),
        "image-classification",
        code::invalid_base64
    );
}

TEST(find_payload, escaped_keys_and_repeated_ones)
{
    expect_found(body(R"({"\u0069nputs":{"b\u0061se64":"aGVsbG8="}})"), "image-classification", "hello", "");
    expect_found(
        body(R"({"inputs":{"base64":"aGVsbG8=","base64":"d29ybGQ="}})"), "image-classification", "world", ""
    );
}

TEST(find_payload, the_last_of_a_repeated_key_counts_however_long)
{
    const std::string large = "\"" + encode_base64(std::string(99'999, 'x')) + "\"";
    expect_found(
        body(R"({"inputs":{"image":)" + large + R"(,"image":"d29ybGQ="}})"),
        "image-classification",
        "world",
        ""
    );
    expect_found(
        body(R"({"inputs":{"image":"d29ybGQ=","image":)" + large + "}}"),
        "image-classification",
        std::string(99'999, 'x'),
        ""
    );
}

} // namespace
} // namespace gw::payloads
