// The task table: every Hugging Face task with what it takes, what it gives, and the quirks of its wire form.
// Codec, sniffing and rendering read it, so that no other file asks "is it this task?". Constant data; safe
// from any thread.
//   source  Hugging Face's task specifications (huggingface.js packages/tasks), the inference toolkit's
//   pipelines, the SDKs
#pragma once

#include "payload/modality.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace gw {

// The canonical shape of a task's answer.
enum class answer_shape : std::uint8_t {
    value,            // any JSON value, not looked into
    bytes,            // an image, audio or video file
    text_object,      // {answer_key: "..."}
    text_list,        // [{answer_key: "..."}]
    label_scores,     // [{"label","score"}]
    zero_shot_scores, // [{"label","score"}]; also met as {"sequence","labels","scores"}
    token_labels,     // [{"entity_group","score","word","start","end"}]; `entity` without aggregation
    detections,       // [{"label","score","box":{"xmin","ymin","xmax","ymax"}}]
    masks,            // [{"label","score"?,"mask": base64 PNG}]
    answer,           // {"answer","score","start","end"}, or a list of them
    answers,          // [{"answer","score"?}]
    table_answer,     // {"answer","coordinates","cells","aggregator"}
    mask_fills,       // [{"score","token","token_str","sequence"}]
    numbers,          // numbers in arrays, 1 to 4 deep
    ranking,          // [{"index","score","text"?}]
    audio_list,       // [{"label","content-type","blob": base64}]
    chat,             // an OpenAI chat.completion
};
[[nodiscard]] std::string_view to_string(answer_shape value);

struct task_info
{
    std::string_view name;
    modality input = modality::json;
    modality output = modality::json;
    answer_shape shape = answer_shape::value;

    std::string_view answer_key = {}; // text_object, text_list: where the text stands

    // `inputs` may be an object: the payload stands under payload_key, text under text_key.
    std::string_view payload_key = {};
    std::string_view text_key = {};
    // The payload alone says enough, so it may be a raw body (with the parameters in the query). False where
    // a question or the like must travel with it.
    bool raw_payload = true;

    // Members that clients put at the root of the body and that belong into `inputs` (`question` beside
    // `inputs`).
    std::span<const std::string_view> root_keys = {};
    // Parameters stand at the root, beside `inputs`, not under `parameters`.
    bool root_parameters = false;
    // hf-inference wants POST /models/{id}/pipeline/{task}.
    bool pipeline_path = false;
    // Hugging Face's own clients have a call for it at hf-inference. False: nobody knows how it is said
    // there.
    bool at_hf_inference = true;
    // Hugging Face's own clients want the canonical list inside one more list.
    bool nested_for_hf = false;
    // @huggingface/inference wants the only element of the canonical list alone.
    bool alone_for_js = false;

    [[nodiscard]] bool binary_input() const { return is_binary(input); }
    [[nodiscard]] bool binary_output() const { return shape == answer_shape::bytes; }
    [[nodiscard]] bool is_chat() const { return shape == answer_shape::chat; }
};

} // namespace gw

namespace gw::payloads {

// All tasks, by name in ascending order.
[[nodiscard]] std::span<const task_info> all_tasks();

// By name or alias (`ner`, `sentiment-analysis`, `conversational`, `translation_en_to_fr`, ...); exact, lower
// case.
//   returns  null: no such task
[[nodiscard]] const task_info* find_task(std::string_view name);

// The task whose name or alias is the nearest by edit distance, for "did you mean"; "" when none is near.
[[nodiscard]] std::string nearest_task(std::string_view name);

} // namespace gw::payloads
