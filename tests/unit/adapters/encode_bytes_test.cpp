// Payloads arrive as the bytes they were, whatever their length and the encoding.
#include "support.hpp"

#include "adapters/encode.hpp"

#include <vector>

namespace gw::adapters {
namespace {

using namespace testing;
using config::kind;
using config::payload_form;

using what = config::template_part::what;

TEST(bytes, identical_for_every_length)
{
    const auto toolkit = upstream(kind::dedicated);
    auto base64_only = toolkit;
    base64_only.payload = payload_form::base64;
    auto binary_only = toolkit;
    binary_only.payload = payload_form::binary;
    const auto templated =
        with_template({{what::literal, R"({"x":{"y":)"}, {what::base64, ""}, {what::literal, "}}"}});

    std::vector<std::size_t> lengths;
    for (std::size_t length = 0; length <= 300; ++length) {
        lengths.push_back(length);
    }
    for (const std::size_t edge : {4096U, 16384U, 65536U}) {
        for (const std::size_t each :
             {edge - 2, edge - 1, edge, edge + 1, edge + 2, edge / 4 * 3 - 1, edge / 4 * 3, edge / 4 * 3 + 1
             }) {
            lengths.push_back(each);
        }
    }
    for (const std::size_t length : lengths) {
        const std::string bytes = some_bytes(length);
        const std::size_t split = length % 7 + 1;
        const auto first = raw(bytes, "image/png", "image-classification");

        // untouched
        EXPECT_EQ(execute(sent(first->asked, at(toolkit, first->asked)).body, first->body, split), bytes);

        // binary -> base64 JSON -> binary through two gateways
        const std::string middle =
            execute(sent(first->asked, at(base64_only, first->asked)).body, first->body, split);
        const auto value = wire::find_value(middle, "/inputs");
        ASSERT_TRUE(value);
        EXPECT_EQ(
            wire::string_of(middle.substr(value->begin, value->size())), payloads::encode_base64(bytes)
        );
        if (length == 0) {
            continue; // an empty string is no payload in JSON
        }
        auto second = json(middle, "image-classification");
        ASSERT_TRUE(second->asked.binary) << length;
        second->asked.binary->media_type = "image/png"; // these bytes have no type of their own
        EXPECT_EQ(
            execute(sent(second->asked, at(binary_only, second->asked)).body, second->body, split), bytes
        );

        // into a template and out of it, slashes escaped on the way
        const std::string wrapped =
            execute(sent(first->asked, at(templated, first->asked)).body, first->body, split);
        const auto inner = wire::find_value(wrapped, "/x/y");
        ASSERT_TRUE(inner);
        auto third = json(
            R"({"inputs":)" + slashes_escaped(wrapped.substr(inner->begin, inner->size())) + "}",
            "image-classification"
        );
        ASSERT_TRUE(third->asked.binary) << length;
        third->asked.binary->media_type = "image/png";
        EXPECT_EQ(execute(sent(third->asked, at(binary_only, third->asked)).body, third->body, split), bytes);
    }
}

TEST(bytes, a_long_payload_is_never_held)
{
    const auto to = upstream(kind::dedicated);
    const std::string bytes = image(300'000);
    const auto asked = json(
        R"({"inputs":{"base64":")" + payloads::encode_base64(bytes) +
            R"(","media_type":"image/png"},"parameters":{"t":0.5}})",
        "image-classification",
        door::native_inference
    );
    const auto what = sent(asked->asked, at(to, asked->asked));
    std::size_t held = 0;
    for (const piece& each : what.body.pieces) {
        held += each.text.size();
    }
    EXPECT_LT(held, 100U);
    const std::string out = execute(what.body, asked->body, 1000);
    EXPECT_EQ(out, R"({"inputs":")" + payloads::encode_base64(bytes) + R"(","parameters":{"t":0.5}})");
}

TEST(bytes, parameters_too_long_to_be_held_stay_a_range)
{
    const auto to = upstream(kind::dedicated);
    const std::string text = payloads::encode_base64(image(50));
    const std::string huge = R"({"mask":")" + std::string(500, 'x') + R"("})";
    for (const bool first : {true, false}) {
        const std::string parameters = R"("parameters":)" + huge;
        const std::string inputs = R"("inputs":{"base64":")" + text + R"("})";
        const auto asked = json(
            "{" + (first ? parameters + "," + inputs : inputs + "," + parameters) + "}",
            "image-classification",
            door::hf_task,
            256
        );
        ASSERT_TRUE(find_member(asked->asked, "parameters")->text.empty());
        const auto what = sent(asked->asked, at(to, asked->asked));
        const std::string plain = R"("inputs":")" + text + "\"";
        EXPECT_EQ(
            execute(what.body, asked->body),
            "{" + (first ? parameters + "," + plain : plain + "," + parameters) + "}"
        );
        std::uint64_t last = 0;
        for (const piece& each : what.body.pieces) {
            EXPECT_TRUE(each.what == piece::how::literal || each.from.begin >= last) << "ranges ascend";
            last = std::max(last, each.from.end);
        }
    }
}

TEST(query, members)
{
    EXPECT_EQ(query_of("{}"), "");
    EXPECT_EQ(query_of(R"({"a":1})"), "a=1");
    EXPECT_EQ(query_of(R"({"a b":"c=d/é"})"), "a%20b=c%3Dd%2F%C3%A9");
    EXPECT_EQ(query_of(R"({"a":"x","b":false})"), "a=x&b=false");
    EXPECT_EQ(query_of("[]"), std::nullopt);
    EXPECT_EQ(query_of(""), std::nullopt);
}

} // namespace
} // namespace gw::adapters
