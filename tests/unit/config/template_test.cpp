// `request:` of the engine custom becomes JSON text cut at its placeholders.
#include "fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gw::config {
namespace {

// The parts as one text: placeholders as <name>.
std::string parts_of(const std::string& request)
{
    const auto made = load_text(
        "upstreams:\n  own:\n    kind: dedicated\n    url: \"https://example.com\"\n    engine: custom\n    "
        "request: " +
            request + "\nmodels:\n  \"*\": { route: [own] }\n",
        "p.yaml",
        fake_environment()
    );
    if (!made) {
        return "refused: " + sentences(made).front();
    }
    std::string out;
    for (const auto& each : (*made)->upstreams.at(0)->request) {
        switch (each.is) {
        case template_part::what::literal:
            out += each.text;
            break;
        case template_part::what::inputs:
            out += "<inputs>";
            break;
        case template_part::what::base64:
            out += "<base64>";
            break;
        case template_part::what::data_url:
            out += "<data_url>";
            break;
        case template_part::what::parameters:
            out += "<parameters>";
            break;
        case template_part::what::model:
            out += "<model>";
            break;
        }
    }
    return out;
}

TEST(request_template, placeholders_are_whole_values)
{
    EXPECT_EQ(
        parts_of("{ image: $base64, options: $parameters }"), R"({"image":<base64>,"options":<parameters>})"
    );
    EXPECT_EQ(parts_of("$inputs"), "<inputs>");
    EXPECT_EQ(parts_of("{ a: [$data_url, \"$model\"] }"), R"({"a":[<data_url>,<model>]})");
    EXPECT_EQ(parts_of("[$model, $inputs]"), "[<model>,<inputs>]");
}

TEST(request_template, scalars_keep_the_types_of_yaml)
{
    EXPECT_EQ(
        parts_of("{ i: $inputs, a: 1, b: -2.5e3, c: true, d: null, e: \"1\", f: text, g: 'true', h: 007, j: "
                 "~, k: 0x1F, l: .5 }"),
        R"({"i":<inputs>,"a":1,"b":-2.5e3,"c":true,"d":null,"e":"1","f":"text","g":"true","h":"007","j":null,"k":"0x1F","l":".5"})"
    );
    EXPECT_EQ(parts_of("{ i: $inputs, empty: {}, none: [] }"), R"({"i":<inputs>,"empty":{},"none":[]})");
}

TEST(request_template, texts_are_escaped)
{
    EXPECT_EQ(
        parts_of(R"({ i: $inputs, "a\"b": "line\nbreak \\ \"quoted\" \u0001 é" })"),
        R"({"i":<inputs>,"a\"b":"line\u000abreak \\ \"quoted\" \u0001 é"})"
    );
}

TEST(request_template, dollars_that_are_text)
{
    EXPECT_EQ(
        parts_of("{ i: $inputs, a: $$inputs, b: \"$5\", c: \"costs $10\", d: \"$\", e: \"a $inputsX b\" }"),
        R"({"i":<inputs>,"a":"$inputs","b":"$5","c":"costs $10","d":"$","e":"a $inputsX b"})"
    );
    EXPECT_THAT(parts_of("{ i: $inputs, a: $other }"), testing::HasSubstr("`$other` is no placeholder"));
    EXPECT_THAT(
        parts_of("{ i: \"say $inputs\" }"), testing::HasSubstr("a placeholder must be the whole value")
    );
}

TEST(request_template, the_payload_is_sent_once)
{
    EXPECT_THAT(parts_of("{ a: $inputs, b: $inputs }"), testing::HasSubstr("holds more than one"));
    EXPECT_THAT(parts_of("{ a: $parameters }"), testing::HasSubstr("holds none of"));
    EXPECT_THAT(parts_of("~"), testing::HasSubstr("holds none of"));
}

} // namespace
} // namespace gw::config
