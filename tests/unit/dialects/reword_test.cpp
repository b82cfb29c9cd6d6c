// What each of Hugging Face's clients, in its version, accepts.
#include "dialects/reword.hpp"
#include "payload/tasks.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace gw::dialects {
namespace {

struct row
{
    std::string_view client;
    std::string_view task;
    std::string canonical;
    std::string wanted;
};

const std::string labels = R"([{"label":"a","score":0.50},{"label":"b","score":1e-3}])";

TEST(reword, by_client_and_version)
{
    for (const row& each : std::vector<row>{
             {"hf_hub/2.4.0", "text-classification", labels, "[" + labels + "]"},
             {"@huggingface/inference/4.13.30", "text-classification", labels, "[" + labels + "]"},
             {"curl/8", "text-classification", "[" + labels + "]", "[" + labels + "]"}, // a list of inputs
             {"unknown/None; hf_hub/1.28.0; python/3.11.7", "zero-shot-classification", labels, labels},
             {"unknown/None; hf_hub/1.1.9",
              "zero-shot-classification",
              labels,
              R"({"sequence":"the \"text\"","labels":["a","b"],"scores":[0.50,1e-3]})"},
             {"hf_hub/0.36.2", "zero-shot-classification", R"({"error":1})", R"({"error":1})"},
             {"curl/8", "zero-shot-classification", labels, labels},
             {"@huggingface/inference/4.13.30 Node.js/24",
              "image-to-text",
              R"([{"generated_text":"a"}])",
              R"({"generated_text":"a"})"},
             {"@huggingface/inference/3.7.0",
              "image-to-text",
              R"([{"generated_text":"a"}])",
              R"([{"generated_text":"a"}])"},
             {"hf_hub/2.4.0", "image-to-text", R"([{"generated_text":"a"}])", R"([{"generated_text":"a"}])"},
             {"@huggingface/inference/4.13.30",
              "token-classification",
              R"([{"entity":"B-PER","index":1},{"entity_group":"PER"}])",
              R"([{"entity_group":"B-PER","entity":"B-PER","index":1},{"entity_group":"PER"}])"},
             {"hf_hub/2.4.0", "token-classification", R"([{"entity":"B-PER"}])", R"([{"entity":"B-PER"}])"},
             {"@huggingface/inference/4.13.30",
              "table-question-answering",
              R"({"answer":"1"})",
              R"({"answer":"1","aggregator":"NONE"})"},
             {"@huggingface/inference/4.13.30",
              "table-question-answering",
              R"({"aggregator":"SUM"})",
              R"({"aggregator":"SUM"})"},
         }) {
        request asked;
        asked.user_agent = each.client;
        asked.task = payloads::find_task(each.task);
        asked.members.push_back({.name = "inputs", .where = {}, .text = R"("the \"text\"")"});
        EXPECT_EQ(reworded(asked, each.canonical), each.wanted) << each.client << " " << each.task;
        for (const std::string_view odd : {"", "[", "[]", "{}", "1", "[[1]]", "[1]", R"(["a"])"}) {
            (void)reworded(asked, std::string(odd)); // survives anything
        }
    }
}

} // namespace
} // namespace gw::dialects
