#include "payload/tasks.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

namespace gw {

std::string_view to_string(answer_shape value)
{
    switch (value) {
    case answer_shape::value:
        return "value";
    case answer_shape::bytes:
        return "bytes";
    case answer_shape::text_object:
        return "text_object";
    case answer_shape::text_list:
        return "text_list";
    case answer_shape::label_scores:
        return "label_scores";
    case answer_shape::zero_shot_scores:
        return "zero_shot_scores";
    case answer_shape::token_labels:
        return "token_labels";
    case answer_shape::detections:
        return "detections";
    case answer_shape::masks:
        return "masks";
    case answer_shape::answer:
        return "answer";
    case answer_shape::answers:
        return "answers";
    case answer_shape::table_answer:
        return "table_answer";
    case answer_shape::mask_fills:
        return "mask_fills";
    case answer_shape::numbers:
        return "numbers";
    case answer_shape::ranking:
        return "ranking";
    case answer_shape::audio_list:
        return "audio_list";
    case answer_shape::chat:
        return "chat";
    }
    return "value";
}

} // namespace gw

namespace gw::payloads {
namespace {

using enum modality;
using shape = answer_shape;

constexpr std::array<std::string_view, 2> sentence_keys{"source_sentence", "sentences"};
constexpr std::array<std::string_view, 3> table_question_keys{"query", "question", "table"};
constexpr std::array<std::string_view, 2> table_keys{"table", "data"};
constexpr std::array<std::string_view, 2> image_question_keys{"question", "image"};
constexpr std::array<std::string_view, 2> question_keys{"question", "context"};

// By name. What a column means stands in tasks.hpp.
constexpr std::array table{
    task_info{.name = "any-to-any", .input = any, .output = any},
    task_info{
        .name = "audio-classification", .input = audio, .shape = shape::label_scores, .payload_key = "audio"
    },
    task_info{
        .name = "audio-text-to-text",
        .input = audio,
        .output = text,
        .shape = shape::text_list,
        .answer_key = "generated_text",
        .payload_key = "audio",
        .text_key = "text",
        .raw_payload = false,
    },
    task_info{.name = "audio-to-audio", .input = audio, .shape = shape::audio_list, .payload_key = "audio"},
    task_info{
        .name = "automatic-speech-recognition",
        .input = audio,
        .output = text,
        .shape = shape::text_object,
        .answer_key = "text",
        .payload_key = "audio",
    },
    task_info{.name = "chat-completion", .input = json, .output = text, .shape = shape::chat},
    task_info{.name = "depth-estimation", .input = image, .payload_key = "image"},
    task_info{
        .name = "document-question-answering",
        .input = image,
        .shape = shape::answers,
        .payload_key = "image",
        .text_key = "question",
        .raw_payload = false,
        .root_keys = image_question_keys,
    },
    task_info{
        .name = "feature-extraction",
        .input = text,
        .shape = shape::numbers,
        .root_parameters = true,
        .pipeline_path = true,
    },
    task_info{.name = "fill-mask", .input = text, .shape = shape::mask_fills},
    task_info{.name = "graph-ml"},
    task_info{
        .name = "image-classification", .input = image, .shape = shape::label_scores, .payload_key = "image"
    },
    task_info{
        .name = "image-feature-extraction", .input = image, .shape = shape::numbers, .payload_key = "image"
    },
    task_info{.name = "image-segmentation", .input = image, .shape = shape::masks, .payload_key = "image"},
    task_info{
        .name = "image-text-to-image",
        .input = image,
        .output = image,
        .shape = shape::bytes,
        .payload_key = "image",
        .text_key = "prompt",
    },
    task_info{
        .name = "image-text-to-text",
        .input = image,
        .output = text,
        .shape = shape::text_list,
        .answer_key = "generated_text",
        .payload_key = "images",
        .text_key = "text",
        .raw_payload = false,
    },
    task_info{
        .name = "image-text-to-video",
        .input = image,
        .output = video,
        .shape = shape::bytes,
        .payload_key = "image",
        .text_key = "prompt",
    },
    task_info{
        .name = "image-to-3d", .input = image, .output = any, .shape = shape::bytes, .payload_key = "image"
    },
    task_info{
        .name = "image-to-image",
        .input = image,
        .output = image,
        .shape = shape::bytes,
        .payload_key = "image",
    },
    task_info{
        .name = "image-to-text",
        .input = image,
        .output = text,
        .shape = shape::text_list,
        .answer_key = "generated_text",
        .payload_key = "image",
        .alone_for_js = true,
    },
    task_info{
        .name = "image-to-video",
        .input = image,
        .output = video,
        .shape = shape::bytes,
        .payload_key = "image",
    },
    task_info{.name = "keypoint-detection", .input = image, .payload_key = "image"},
    task_info{.name = "mask-generation", .input = image, .payload_key = "image"},
    task_info{.name = "multiple-choice"},
    task_info{.name = "object-detection", .input = image, .shape = shape::detections, .payload_key = "image"},
    task_info{.name = "other", .input = any, .output = any},
    task_info{
        .name = "question-answering",
        .input = json,
        .shape = shape::answer,
        .text_key = "question",
        .root_keys = question_keys,
    },
    task_info{.name = "reinforcement-learning"},
    task_info{.name = "robotics"},
    task_info{
        .name = "sentence-similarity",
        .input = json,
        .shape = shape::numbers,
        .text_key = "source_sentence",
        .root_keys = sentence_keys,
        .pipeline_path = true,
    },
    task_info{
        .name = "summarization",
        .input = text,
        .output = text,
        .shape = shape::text_list,
        .answer_key = "summary_text",
    },
    task_info{
        .name = "table-question-answering",
        .input = json,
        .shape = shape::table_answer,
        .text_key = "query",
        .root_keys = table_question_keys,
    },
    task_info{.name = "table-to-text", .output = text},
    task_info{
        .name = "tabular-classification", .input = json, .shape = shape::numbers, .root_keys = table_keys
    },
    task_info{.name = "tabular-regression", .input = json, .shape = shape::numbers, .root_keys = table_keys},
    task_info{.name = "tabular-to-text", .output = text},
    task_info{
        .name = "text-classification", .input = text, .shape = shape::label_scores, .nested_for_hf = true
    },
    task_info{
        .name = "text-generation",
        .input = text,
        .output = text,
        .shape = shape::text_list,
        .answer_key = "generated_text",
    },
    task_info{
        .name = "text-ranking",
        .input = json,
        .shape = shape::ranking,
        .text_key = "query",
        .at_hf_inference = false,
    },
    task_info{.name = "text-retrieval", .input = text},
    task_info{.name = "text-to-3d", .input = text, .output = any, .shape = shape::bytes},
    task_info{.name = "text-to-audio", .input = text, .output = audio, .shape = shape::bytes},
    task_info{.name = "text-to-image", .input = text, .output = image, .shape = shape::bytes},
    task_info{.name = "text-to-speech", .input = text, .output = audio, .shape = shape::bytes},
    task_info{.name = "text-to-video", .input = text, .output = video, .shape = shape::bytes},
    task_info{.name = "time-series-forecasting"},
    task_info{.name = "token-classification", .input = text, .shape = shape::token_labels},
    task_info{
        .name = "translation",
        .input = text,
        .output = text,
        .shape = shape::text_list,
        .answer_key = "translation_text",
    },
    task_info{
        .name = "unconditional-image-generation", .input = json, .output = image, .shape = shape::bytes
    },
    task_info{
        .name = "video-classification", .input = video, .shape = shape::label_scores, .payload_key = "video"
    },
    task_info{
        .name = "video-text-to-text",
        .input = video,
        .output = text,
        .shape = shape::text_list,
        .answer_key = "generated_text",
        .payload_key = "video",
        .text_key = "text",
        .raw_payload = false,
    },
    task_info{
        .name = "video-to-video",
        .input = video,
        .output = video,
        .shape = shape::bytes,
        .payload_key = "video",
    },
    task_info{.name = "visual-document-retrieval"},
    task_info{
        .name = "visual-question-answering",
        .input = image,
        .shape = shape::answers,
        .payload_key = "image",
        .text_key = "question",
        .raw_payload = false,
        .root_keys = image_question_keys,
    },
    task_info{.name = "voice-activity-detection", .input = audio, .payload_key = "audio"},
    task_info{
        .name = "zero-shot-audio-classification",
        .input = audio,
        .shape = shape::label_scores,
        .payload_key = "audio",
        .raw_payload = false,
    },
    task_info{.name = "zero-shot-classification", .input = text, .shape = shape::zero_shot_scores},
    task_info{
        .name = "zero-shot-image-classification",
        .input = image,
        .shape = shape::label_scores,
        .payload_key = "image",
        .raw_payload = false,
    },
    task_info{
        .name = "zero-shot-object-detection",
        .input = image,
        .shape = shape::detections,
        .payload_key = "image",
        .raw_payload = false,
    },
};
static_assert(std::ranges::is_sorted(table, {}, &task_info::name));

struct alias
{
    std::string_view said;
    std::string_view meant;
};

constexpr std::array aliases{
    alias{"asr", "automatic-speech-recognition"},
    alias{"chat-completions", "chat-completion"},
    alias{"conversational", "chat-completion"},
    alias{"document-qa", "document-question-answering"},
    alias{"embeddings", "feature-extraction"},
    alias{"image-captioning", "image-to-text"},
    alias{"ner", "token-classification"},
    alias{"sentence-embeddings", "feature-extraction"}, // the toolkit's names
    alias{"sentence-ranking", "text-ranking"},
    alias{"sentiment-analysis", "text-classification"},
    alias{"speech-to-text", "automatic-speech-recognition"},
    alias{"text2text-generation", "text-generation"},
    alias{"tts", "text-to-speech"},
    alias{"vqa", "visual-question-answering"},
    alias{"zero-shot", "zero-shot-classification"},
};
static_assert(std::ranges::is_sorted(aliases, {}, &alias::said));

const task_info* look_up(std::string_view name)
{
    const auto found = std::ranges::lower_bound(table, name, {}, &task_info::name);
    return found != table.end() && found->name == name ? &*found : nullptr;
}

// Levenshtein.
std::size_t edit_distance(std::string_view left, std::string_view right)
{
    std::vector<std::size_t> row(right.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < left.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < right.size(); ++j) {
            const std::size_t changed = diagonal + (left[i] == right[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
        }
    }
    return row.back();
}

} // namespace

std::span<const task_info> all_tasks()
{
    return table;
}

const task_info* find_task(std::string_view name)
{
    if (const auto* found = look_up(name)) {
        return found;
    }
    const auto found = std::ranges::lower_bound(aliases, name, {}, &alias::said);
    if (found != aliases.end() && found->said == name) {
        return look_up(found->meant);
    }
    // transformers names the languages: translation_en_to_fr
    if (name.starts_with("translation_") && name.size() <= 64 && name.contains("_to_")) {
        return look_up("translation");
    }
    return nullptr;
}

std::string nearest_task(std::string_view name)
{
    if (name.empty() || name.size() > 64) {
        return {};
    }
    // `Image_Classification` is near without any edit.
    std::string plain(name);
    for (char& each : plain) {
        if (each == '_' || each == ' ') {
            each = '-';
        } else if (each >= 'A' && each <= 'Z') {
            each = static_cast<char>(each - 'A' + 'a');
        }
    }

    std::string_view best;
    std::size_t least = std::max<std::size_t>(1, plain.size() / 3) + 1; // farther is not near
    const auto offer = [&](std::string_view said, std::string_view meant) {
        const std::size_t distance = edit_distance(plain, said);
        if (distance < least) {
            least = distance;
            best = meant;
        }
    };
    for (const auto& each : table) {
        offer(each.name, each.name);
    }
    for (const auto& each : aliases) {
        offer(each.said, each.meant);
    }
    return std::string(best);
}

} // namespace gw::payloads
