#include "payload/tasks.hpp"

#include <gtest/gtest.h>

#include <set>

namespace gw::payloads {
namespace {

// Every task of Hugging Face's list (huggingface.js, packages/tasks), chat-completion besides.
constexpr std::string_view official[] = {
    "text-classification",
    "token-classification",
    "table-question-answering",
    "question-answering",
    "zero-shot-classification",
    "translation",
    "summarization",
    "feature-extraction",
    "text-generation",
    "fill-mask",
    "sentence-similarity",
    "text-to-speech",
    "text-to-audio",
    "automatic-speech-recognition",
    "audio-to-audio",
    "audio-classification",
    "audio-text-to-text",
    "voice-activity-detection",
    "depth-estimation",
    "image-classification",
    "object-detection",
    "image-segmentation",
    "text-to-image",
    "image-to-text",
    "image-to-image",
    "image-to-video",
    "unconditional-image-generation",
    "video-classification",
    "reinforcement-learning",
    "robotics",
    "tabular-classification",
    "tabular-regression",
    "tabular-to-text",
    "table-to-text",
    "multiple-choice",
    "text-ranking",
    "text-retrieval",
    "time-series-forecasting",
    "text-to-video",
    "image-text-to-text",
    "visual-question-answering",
    "document-question-answering",
    "zero-shot-image-classification",
    "graph-ml",
    "mask-generation",
    "zero-shot-object-detection",
    "text-to-3d",
    "image-to-3d",
    "image-feature-extraction",
    "video-text-to-text",
    "keypoint-detection",
    "visual-document-retrieval",
    "any-to-any",
    "other",
    "chat-completion",
    "text2text-generation",
};

TEST(tasks, all_of_them_are_known)
{
    for (const auto name : official) {
        EXPECT_NE(find_task(name), nullptr) << name;
    }
    EXPECT_EQ(find_task(""), nullptr);
    EXPECT_EQ(find_task("Image-Classification"), nullptr);
    EXPECT_EQ(find_task("image-classificatio"), nullptr);
}

TEST(tasks, rows_make_sense)
{
    std::set<std::string_view> names;
    for (const auto& task : all_tasks()) {
        EXPECT_TRUE(names.insert(task.name).second) << task.name;
        EXPECT_EQ(find_task(task.name), &task);
        EXPECT_EQ(task.binary_input(), !task.payload_key.empty()) << task.name;
        const bool has_text =
            task.shape == answer_shape::text_object || task.shape == answer_shape::text_list;
        EXPECT_EQ(has_text, !task.answer_key.empty()) << task.name;
        if (is_binary(task.output)) {
            EXPECT_EQ(task.shape, answer_shape::bytes) << task.name;
        }
        if (!task.raw_payload) {
            EXPECT_TRUE(task.binary_input()) << task.name;
        }
        EXPECT_NE(to_string(task.shape), "") << task.name;
    }
}

TEST(tasks, aliases)
{
    const std::pair<std::string_view, std::string_view> rows[] = {
        {"ner", "token-classification"},
        {"sentiment-analysis", "text-classification"},
        {"conversational", "chat-completion"},
        {"text2text-generation", "text-generation"},
        {"sentence-embeddings", "feature-extraction"},
        {"sentence-ranking", "text-ranking"},
        {"asr", "automatic-speech-recognition"},
        {"vqa", "visual-question-answering"},
        {"translation_en_to_fr", "translation"},
    };
    for (const auto& [said, meant] : rows) {
        const auto* task = find_task(said);
        ASSERT_NE(task, nullptr) << said;
        EXPECT_EQ(task->name, meant);
    }
    EXPECT_EQ(find_task("translation_"), nullptr);
}

TEST(tasks, wire_quirks)
{
    std::set<std::string_view> pipeline;
    std::set<std::string_view> root;
    for (const auto& task : all_tasks()) {
        if (task.pipeline_path) {
            pipeline.insert(task.name);
        }
        if (task.root_parameters) {
            root.insert(task.name);
        }
    }
    EXPECT_EQ(pipeline, (std::set<std::string_view>{"feature-extraction", "sentence-similarity"}));
    EXPECT_EQ(root, (std::set<std::string_view>{"feature-extraction"}));

    const auto* question = find_task("visual-question-answering");
    EXPECT_EQ(question->payload_key, "image");
    EXPECT_EQ(question->text_key, "question");
    EXPECT_FALSE(question->raw_payload);
    EXPECT_TRUE(find_task("image-classification")->raw_payload);
    EXPECT_TRUE(find_task("text-classification")->nested_for_hf);
    EXPECT_TRUE(find_task("text-to-image")->binary_output());
    EXPECT_TRUE(find_task("chat-completion")->is_chat());
}

TEST(tasks, did_you_mean)
{
    EXPECT_EQ(nearest_task("image-clasification"), "image-classification");
    EXPECT_EQ(nearest_task("Image_Classification"), "image-classification");
    EXPECT_EQ(nearest_task("text-to-imag"), "text-to-image");
    EXPECT_EQ(nearest_task("sentiment-analisys"), "text-classification");
    EXPECT_EQ(nearest_task("chat-completions"), "chat-completion");
    EXPECT_EQ(nearest_task("qqqqqqqq"), "");
    EXPECT_EQ(nearest_task(""), "");
    EXPECT_EQ(nearest_task(std::string(100'000, 'a')), "");
}

} // namespace
} // namespace gw::payloads
