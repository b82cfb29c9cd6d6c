// Answers of every family in the one form of their task: a canonical answer, worded as a family words it,
// comes back the same; and what nobody knows goes on as it came.
#include "support.hpp"

#include "adapters/canonical.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <random>
#include <vector>

namespace gw::adapters {
namespace {

using namespace testing;

std::string made_canonical(const std::string& answer, std::string_view task)
{
    const auto where = wire::find_value(answer, "");
    EXPECT_TRUE(where) << answer;
    return execute(canonical(answer, where.value_or(byte_range{}), *payloads::find_task(task)), answer);
}

// ---- the property ----

class dice
{
public:
    explicit dice(unsigned seed) : state_(seed) {}

    std::size_t upto(std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most)(state_); }

    // A JSON string as some server writes it.
    std::string text()
    {
        static constexpr std::array<std::string_view, 10> parts{
            "a", "LABEL_1", "\\\"", "\\\\", "\xC3\xA9", "\\u00e9", " ", "]}", "\xF0\x9F\x99\x82", "0"
        };
        std::string out = "\"";
        for (std::size_t i = upto(6); i > 0; --i) {
            out += parts.at(upto(parts.size() - 1));
        }
        return out + "\"";
    }

    std::string number()
    {
        static constexpr std::array<std::string_view, 6> some{
            "0.5", "1", "-0.034280583", "9.9e-7", "0.0", "1E5"
        };
        return std::string(some.at(upto(some.size() - 1)));
    }

private:
    std::minstd_rand state_;
};

using rows = std::vector<std::vector<std::string>>;

// [{"a":..,"b":..},...]
std::string objects(const rows& from, const std::vector<std::string>& keys)
{
    std::string out = "[";
    for (const auto& row : from) {
        out += out.size() == 1 ? "{" : ",{";
        for (std::size_t i = 0; i < keys.size(); ++i) {
            out += (i == 0 ? "\"" : ",\"") + keys.at(i) + "\":" + row.at(i);
        }
        out += "}";
    }
    return out + "]";
}

std::string list(const rows& from, std::size_t column)
{
    std::string out = "[";
    for (const auto& row : from) {
        out += (out.size() == 1 ? "" : ",") + row.at(column);
    }
    return out + "]";
}

// A family's way to say a canonical answer. `rows` is what it is made of.
struct wording
{
    std::string_view family;
    std::string_view task;
    std::vector<std::string> keys; // of the canonical objects; empty: a list of the values alone
    std::function<std::string(const std::string& canonical, const rows& from)> said;
};

const std::vector<std::string> label_score{"label", "score"};

std::string as_it_is(const std::string& canonical, const rows&)
{
    return canonical;
}

std::string nested(const std::string& canonical, const rows&)
{
    return "[" + canonical + "]";
}

std::string two_lists(const std::string&, const rows& from)
{
    return R"({"sequence":"s","labels":)" + list(from, 0) + R"(,"scores":)" + list(from, 1) + "}";
}

const std::vector<wording>& wordings()
{
    static const std::vector<wording> all{
        {"serverless", "text-classification", label_score, nested},
        {"toolkit", "text-classification", label_score, as_it_is},
        {"TEI", "text-classification", label_score, as_it_is},
        {"serverless", "zero-shot-classification", label_score, as_it_is},
        {"serverless before 2025-11", "zero-shot-classification", label_score, two_lists},
        {"toolkit", "zero-shot-classification", label_score, two_lists},
        {"toolkit, a list of inputs",
         "zero-shot-classification",
         label_score,
         [](const std::string& c, const rows& r) { return "[" + two_lists(c, r) + "]"; }},
        {"serverless", "summarization", {"summary_text"}, as_it_is},
        {"serverless", "translation", {"translation_text"}, as_it_is},
        {"TGI /", "text-generation", {"generated_text"}, as_it_is},
        {"toolkit, a list of inputs", "text-generation", {"generated_text"}, nested},
        {"OpenAI completions",
         "text-generation",
         {"generated_text"},
         [](const std::string&, const rows& r) {
             return R"({"id":"1","choices":)" + objects(r, {"text"}) + R"(,"usage":{"prompt_tokens":1}})";
         }},
        {"toolkit",
         "image-segmentation",
         {"label", "mask"},
         [](const std::string&, const rows& r) {
             std::string out = "[";
             for (const auto& row : r) {
                 out += (out.size() == 1 ? "" : ",") + (R"({"score":null,"label":)" + row.at(0)) +
                        R"(,"mask":)" + row.at(1) + "}";
             }
             return out + "]";
         }},
        {"serverless", "image-segmentation", {"label", "score", "mask"}, as_it_is},
        {"serverless", "document-question-answering", {"answer", "score"}, as_it_is},
        {"toolkit",
         "sentence-similarity",
         {},
         [](const std::string& c, const rows&) { return R"({"similarities":)" + c + "}"; }},
        {"TEI", "sentence-similarity", {}, as_it_is},
        {"toolkit",
         "feature-extraction",
         {},
         [](const std::string& c, const rows&) { return R"({"embeddings":)" + c + "}"; }},
        {"OpenAI embeddings",
         "feature-extraction",
         {},
         [](const std::string&, const rows& r) {
             std::string out; // in any order: `index` counts
             for (std::size_t i = r.size(); i > 0; --i) {
                 out += (out.empty() ? "" : ",") +
                        (R"({"object":"embedding","index":)" + std::to_string(i - 1)) + R"(,"embedding":)" +
                        r.at(i - 1).at(0) + "}";
             }
             return R"({"object":"list","data":[)" + out + R"(],"usage":{"prompt_tokens":3}})";
         }},
        {"TEI", "text-ranking", {"index", "score", "text"}, as_it_is},
    };
    return all;
}

class words_of : public ::testing::TestWithParam<std::size_t>
{
};

TEST_P(words_of, a_family_come_back_as_the_canonical_answer)
{
    const wording& how = wordings().at(GetParam());
    for (unsigned seed = 0; seed < 200; ++seed) {
        dice draw(seed);
        rows from;
        const std::size_t count = 2 + draw.upto(4);
        for (std::size_t i = 0; i < count; ++i) {
            auto& row = from.emplace_back();
            for (std::size_t k = 0; k < std::max<std::size_t>(how.keys.size(), 1); ++k) {
                const bool number =
                    how.keys.empty() || how.keys.at(k) == "score" || how.keys.at(k) == "index";
                row.push_back(number ? draw.number() : draw.text());
            }
        }
        const std::string one = how.keys.empty() ? list(from, 0) : objects(from, how.keys);
        EXPECT_EQ(made_canonical(how.said(one, from), how.task), one) << how.family << " " << how.task;
    }
}

INSTANTIATE_TEST_SUITE_P(canonical, words_of, ::testing::Range(std::size_t{0}, wordings().size()));

// ---- one by one ----

TEST(canonical, other_forms)
{
    struct row
    {
        std::string_view task;
        std::string said;
        std::string canonical;
    };
    for (const row& each : std::vector<row>{
             {"text-generation",
              R"({"generated_text":"a","details":{"seed":null}})",
              R"([{"generated_text":"a","details":{"seed":null}}])"}, // TGI /generate
             {"text-generation",
              R"({"choices":[{"index":0,"text":" b","finish_reason":"length"}]})",
              R"([{"generated_text":" b","details":{"finish_reason":"length"}}])"},
             {"image-to-text", R"({"generated_text":"a cat"})", R"([{"generated_text":"a cat"}])"},
             {"image-to-text",
              R"({"choices":[{"message":{"role":"assistant","content":"c"}}]})",
              R"([{"generated_text":"c"}])"},
             {"visual-question-answering",
              R"({"answer":"two","score":0.5})",
              R"([{"answer":"two","score":0.5}])"},
             {"table-question-answering",
              R"([{"answer":"1","cells":["1"]}])",
              R"({"answer":"1","cells":["1"]})"},
             {"text-classification",
              R"([[{"label":"a","score":1}],[{"label":"b","score":1}]])",
              R"([[{"label":"a","score":1}],[{"label":"b","score":1}]])"}, // two inputs stay two
             {"zero-shot-classification",
              R"([{"labels":["a"],"scores":[1]},{"labels":["b"],"scores":[0]}])",
              R"([[{"label":"a","score":1}],[{"label":"b","score":0}]])"},
             {"text-ranking",
              R"({"scores":[0.5,0.25]})",
              R"([{"index":0,"score":0.5},{"index":1,"score":0.25}])"},
             {"text-ranking",
              R"({"results":[{"index":1,"relevance_score":0.5,"document":{"text":"t"}}]})",
              R"([{"index":1,"score":0.5,"text":"t"}])"},
             {"image-segmentation",
              R"([{"label":"a","score":null,"mask":"data:image/png;base64,aGk="}])",
              R"([{"label":"a","mask":"aGk="}])"},
             {"feature-extraction", "[[[0.5,1e-3]]]", "[[[0.5,1e-3]]]"},
         }) {
        EXPECT_EQ(made_canonical(each.said, each.task), each.canonical);
    }
}

TEST(canonical, what_nobody_knows_goes_on_as_it_came)
{
    for (const auto& task : payloads::all_tasks()) {
        for (const std::string odd :
             {"{}",
              "[]",
              "[[]]",
              "1",
              "null",
              R"("text")",
              R"({"labels":[1],"scores":[]})",
              R"({"data":[1]})",
              R"({"choices":[{"text":1}]})",
              R"({"results":[1]})",
              "[1,2]",
              "[[1],[2]]"}) {
            const std::string made = made_canonical(odd, task.name);
            wire::json_scanner scanner;
            EXPECT_TRUE(scanner.feed(made) && scanner.finish()) << task.name << " " << odd << " -> " << made;
        }
        const std::string unknown = R"({"warnings":["w"],"what":{"a":[1]}})";
        EXPECT_TRUE(made_canonical(unknown, task.name).contains(R"("warnings":["w"],"what":{"a":[1]})"))
            << task.name;
    }
}

TEST(canonical, long_values_travel_as_ranges)
{
    const std::string mask(10'000, 'A');
    const std::string answer = R"([{"label":"a","mask":")" + mask + R"("}])";
    const auto plan = canonical(answer, {0, answer.size()}, *payloads::find_task("image-segmentation"));
    EXPECT_EQ(execute(plan, answer), answer);
    EXPECT_TRUE(std::ranges::any_of(plan.pieces, [](const piece& p) { return p.what == piece::how::copy; }));
}

TEST(canonical, samples_become_a_file)
{
    const auto wav = wav_of(R"({"audio":[[0.0,1.0,-1.0,2.0]],"sampling_rate":16000})");
    ASSERT_TRUE(wav);
    const std::string expected(
        "RIFF\x2C\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3E\0\0\0\x7D\0\0\2\0\x10\0data\x08\0\0\0"
        "\0\0\xFF\x7F\x01\x80\xFF\x7F",
        52
    );
    EXPECT_EQ(*wav, expected);
    const auto stereo = wav_of(R"({"audio":[[0,1],[-1,0]],"sampling_rate":8000})");
    ASSERT_TRUE(stereo);
    EXPECT_EQ(stereo->substr(44), std::string("\0\0\x01\x80\xFF\x7F\0\0", 8));
    EXPECT_EQ(wav_of(R"({"audio":[0,1],"sampling_rate":8000})")->size(), 48U);
    for (const std::string_view no :
         {R"({"audio":[[0],[0,1]],"sampling_rate":8000})",
          R"({"audio":["a"],"sampling_rate":8000})",
          R"({"audio":[],"sampling_rate":0})",
          R"({"audio":[0]})",
          "[]",
          ""}) {
        EXPECT_FALSE(wav_of(no)) << no;
    }
}

} // namespace
} // namespace gw::adapters
