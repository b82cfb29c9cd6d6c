#include "dialects/openai_tasks.hpp"

#include "dialects/answers.hpp"
#include "dialects/reading.hpp"
#include "payload/base64.hpp"
#include "payload/tasks.hpp"
#include "wire/json_walk.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace gw::dialects {
namespace {

using wire::elements_of;
using wire::json_string;
using wire::member_of;

// ---- requests ----

struct renamed
{
    std::string_view theirs;
    std::string_view ours; // empty: it says nothing to a task's server
};

// A door of this kind: its task, where its input stands, and its words for parameters. What is not named here
// is called the same, or is left for the upstream to refuse.
struct words
{
    std::string_view task;
    std::string_view input;
    bool list = false; // the input may be one
    std::span<const renamed> parameters = {};
};

constexpr std::array of_completions{
    renamed{"max_tokens", "max_new_tokens"},
    renamed{"n", "num_return_sequences"},
    renamed{"echo", "return_full_text"},
    renamed{"user", ""},
};
constexpr std::array of_embeddings{renamed{"encoding_format", ""}, renamed{"user", ""}};
constexpr std::array of_images{
    renamed{"response_format", ""},
    renamed{"size", ""}, // width and height
    renamed{"user", ""},
};
constexpr std::array of_speech{
    renamed{"response_format", ""}, // the answer's Content-Type tells it
    renamed{"voice", ""},           // of a model of OpenAI's; their SDKs insist on one
};

const words& words_at(door at)
{
    static constexpr words completions{"text-generation", "prompt", true, of_completions};
    static constexpr words embeddings{"feature-extraction", "input", true, of_embeddings};
    static constexpr words images{"text-to-image", "prompt", false, of_images};
    static constexpr words speech{"text-to-speech", "input", false, of_speech};
    switch (at) {
    case door::hf_completions:
    case door::openai_completions:
        return completions;
    case door::openai_images:
        return images;
    case door::openai_speech:
        return speech;
    default:
        return embeddings;
    }
}

bool is_zero(std::string_view number)
{
    return number.starts_with('0') && number.find_first_not_of("0.") == std::string_view::npos;
}

// `512x256` as width and height; nullopt: not said, or `auto`.
result<std::optional<std::pair<std::string, std::string>>> size_of(const body_facts& body)
{
    auto size = read_string(body, "size");
    if (!size) {
        return fail(size);
    }
    if (!*size || **size == "auto") {
        return std::nullopt;
    }
    const std::string_view text = **size;
    const std::size_t cross = text.find('x');
    const auto number = [](std::string_view digits) {
        return !digits.empty() && digits.size() < 6 && digits.front() != '0' &&
               std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
    };
    if (cross == std::string_view::npos || !number(text.substr(0, cross)) ||
        !number(text.substr(cross + 1))) {
        return refuse_field(
            code::invalid_json, "size", "`size` is no size. Write width and height, for example 512x512."
        );
    }
    return std::pair(std::string(text.substr(0, cross)), std::string(text.substr(cross + 1)));
}

// An object's members, each name once: the first counts.
class parameters
{
public:
    void add(std::string_view name, std::string_view value)
    {
        if (std::ranges::find(names_, name) == names_.end()) {
            names_.emplace_back(name);
            text_ += "," + json_string(name) + ":" + std::string(value);
        }
    }

    // Empty: none.
    [[nodiscard]] std::string text() const { return text_.empty() ? text_ : "{" + text_.substr(1) + "}"; }

private:
    std::vector<std::string> names_;
    std::string text_;
};

// The members that are parameters of the task.
result<std::string> parameters_of(door at, const body_facts& body)
{
    const words& here = words_at(at);
    const bool generates = here.task == "text-generation";
    const std::array<std::string_view, 6> others{
        "model", here.input, "stream", "stream_options", "inputs", "parameters"
    };
    parameters made;
    if (generates && !find(body, "echo")) {
        made.add("return_full_text", "false");
    }
    if (here.task == "text-to-image") {
        auto size = size_of(body);
        if (!size) {
            return fail(size);
        }
        if (*size) {
            made.add("width", (*size)->first);
            made.add("height", (*size)->second);
        }
    }
    for (const auto& each : body.members) {
        const auto known = std::ranges::find(here.parameters, each.name, &renamed::theirs);
        const std::string_view name = known != here.parameters.end() ? known->ours : each.name;
        if (name.empty() || each.text == "null" || std::ranges::find(others, each.name) != others.end()) {
            continue;
        }
        if (each.text.empty()) {
            return refuse_field(
                code::invalid_json, each.name, shown(each.name) + " is far too long for a parameter."
            );
        }
        if (generates && name == "temperature" && is_zero(each.text)) {
            made.add("do_sample", "false"); // 0 is refused as a temperature
        } else if (here.task != "text-to-image" || name != "n" || each.text != "1") {
            made.add(name, each.text);
        }
    }
    return made.text();
}

// ---- answers ----

constexpr std::string_view no_usage = R"({"prompt_tokens":0,"total_tokens":0})";

std::unexpected<failure> no_answer(std::string_view task)
{
    return std::unexpected(failure{
        .what = code::unavailable,
        .from = origin::upstream,
        .text = "The upstream's answer is none for " + std::string(task) + ". Try again, or another model."
    });
}

bool asks_base64(const request& asked)
{
    const auto* format = find_member(asked, "encoding_format");
    return format != nullptr && format->text == R"("base64")";
}

// How many texts the client sent; nullopt: too long to be looked at.
std::optional<std::size_t> texts_in(const request& asked)
{
    const auto* inputs = find_member(asked, "inputs");
    if (inputs == nullptr || (inputs->list && inputs->text.empty())) {
        return std::nullopt;
    }
    const auto texts = inputs->list ? elements_of(inputs->text) : std::nullopt;
    const bool token_numbers =
        texts && !texts->empty() && !texts->front().starts_with('"') && !texts->front().starts_with('[');
    return !texts || token_numbers ? 1 : texts->size();
}

// A vector's numbers as 32-bit floats, least significant byte first, in base64; nullopt: not all are numbers.
std::optional<std::string> packed(std::string_view vector)
{
    const auto numbers = elements_of(vector);
    if (!numbers) {
        return std::nullopt;
    }
    std::string bytes;
    bytes.reserve(numbers->size() * 4);
    for (const std::string_view each : *numbers) {
        double value = 0;
        const auto [end, error] = std::from_chars(each.data(), each.data() + each.size(), value);
        if (error == std::errc::invalid_argument || end != each.data() + each.size()) {
            return std::nullopt;
        }
        const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
        for (unsigned shift = 0; shift < 32; shift += 8) {
            bytes += static_cast<char>((bits >> shift) & 0xFFU);
        }
    }
    return payloads::encode_base64(bytes);
}

struct vectors
{
    std::vector<std::string_view> all;
    std::string_view usage = no_usage;
};

bool is_list(std::string_view value)
{
    return value.starts_with('[');
}

// One vector for each text: OpenAI's data[].embedding of a provider, or the task's lists of numbers, which
// may be one level deeper where a text has but one vector.
std::optional<vectors> vectors_of(std::string_view json)
{
    vectors found;
    if (const auto data = elements_of(member_of(json, "data"))) {
        found.all.resize(data->size());
        for (std::size_t i = 0; i < data->size(); ++i) {
            const std::string_view said = member_of((*data)[i], "index"); // which text it is of
            std::size_t index = i;
            std::from_chars(said.data(), said.data() + said.size(), index);
            if (index < found.all.size()) {
                found.all[index] = member_of((*data)[i], "embedding");
            }
        }
        if (const std::string_view usage = member_of(json, "usage"); usage.starts_with('{')) {
            found.usage = usage;
        }
        return found;
    }
    auto lists = elements_of(json);
    if (!lists || lists->empty()) {
        return std::nullopt;
    }
    if (!is_list(lists->front())) {
        found.all = {json};
        return found;
    }
    for (std::string_view& each : *lists) {
        if (const auto inner = elements_of(each); inner && inner->size() == 1 && is_list(inner->front())) {
            each = inner->front();
        }
    }
    found.all = std::move(*lists);
    return found;
}

result<std::string> embeddings(const request& asked, std::string_view json)
{
    const auto found = vectors_of(json);
    if (!found) {
        return no_answer("feature-extraction");
    }
    const auto texts = texts_in(asked);
    const bool of_tokens =
        (texts && *texts != found->all.size()) || std::ranges::any_of(found->all, [](std::string_view each) {
            const auto inner = elements_of(each);
            return inner && !inner->empty() && is_list(inner->front());
        });
    if (of_tokens) {
        return refuse(
            code::unsupported,
            "`" + asked.model +
                "` answered with a vector for each token, and an embedding is one for each text: the model "
                "does not put them together there. POST /models/" +
                asked.model + "/pipeline/feature-extraction gives them as they are."
        );
    }
    std::string made = R"({"object":"list","data":[)";
    for (std::size_t i = 0; i < found->all.size(); ++i) {
        const std::string_view vector = found->all[i];
        made += i == 0 ? "" : ",";
        made += R"({"object":"embedding","index":)" + std::to_string(i) + R"(,"embedding":)";
        if (asks_base64(asked) && is_list(vector)) {
            const auto base64 = packed(vector);
            if (!base64) {
                return no_answer("feature-extraction");
            }
            made += '"' + *base64 + '"';
        } else if (is_list(vector) || vector.starts_with('"')) {
            made += vector;
        } else {
            return no_answer("feature-extraction");
        }
        made += '}';
    }
    made += R"(],"model":)" + json_string(asked.model) + R"(,"usage":)" + std::string(found->usage) + '}';
    return made;
}

// One generated text as a choice. False: it is none.
bool add_choice(std::string& to, std::size_t index, std::string_view generated)
{
    const std::string_view text = member_of(generated, "generated_text");
    if (!text.starts_with('"')) {
        return false;
    }
    const bool cut = member_of(member_of(generated, "details"), "finish_reason") == R"("length")";
    to += index == 0 ? "" : ",";
    to += R"({"index":)" + std::to_string(index) + R"(,"text":)";
    to += text;
    to += R"(,"logprobs":null,"finish_reason":)";
    to += cut ? R"("length"})" : R"("stop"})";
    return true;
}

result<std::string> completion(const request& asked, std::string json)
{
    if (elements_of(member_of(json, "choices"))) {
        return json;
    }
    std::string choices;
    std::size_t count = 0;
    bool whole = true;
    for (const std::string_view each : elements_of(json).value_or(std::vector<std::string_view>{json})) {
        for (const std::string_view one : elements_of(each).value_or(std::vector<std::string_view>{each})) {
            whole = whole && add_choice(choices, count++, one);
        }
    }
    if (!whole || count == 0) {
        return no_answer("text-generation");
    }
    return R"({"id":)" + json_string("cmpl-" + asked.request_id) +
           R"(,"object":"text_completion","created":)" + std::to_string(asked.arrived) + R"(,"model":)" +
           json_string(asked.model) + R"(,"choices":[)" + choices + "]}";
}

// A picture that was asked for as a `url` is one in itself.
rendering picture(const request& asked, std::string_view media_type)
{
    const auto* format = find_member(asked, "response_format");
    const bool url = format != nullptr && format->text == R"("url")";
    rendering shape{.as = rendering::how::base64_json, .content_type = "application/json"};
    shape.before = R"({"created":)" + std::to_string(asked.arrived) + R"(,"data":[{")";
    if (url) {
        shape.before += R"(url":)" + json_string("data:" + std::string(media_type) + ";base64,");
        shape.before.pop_back();
    } else {
        shape.before += R"(b64_json":")";
    }
    shape.after = R"("}]})";
    return shape;
}

} // namespace

result<void> take_openai_task(request& into, const body_facts& body)
{
    const words& here = words_at(into.at);
    const std::string example = R"({"model":"...",)" + json_string(here.input) + R"(:"..."})";
    if (auto taken = take_object(into, body, example); !taken) {
        return taken;
    }
    into.task = payloads::find_task(here.task);

    // The input.
    const auto input = find(body, here.input);
    if (!input) {
        return refuse_field(
            code::invalid_json, here.input, shown(here.input) + " is missing. Send " + example + "."
        );
    }
    const bool list = input->kind == wire::json_kind::array;
    if (input->kind != wire::json_kind::string && !(list && here.list)) {
        return wrong_type(here.input, here.list ? "a text, or a list of texts" : "a text", input->kind);
    }

    // What else is said.
    if (here.task == "text-generation") {
        if (auto taken = take_stream(into, body); !taken) {
            return taken;
        }
    }
    if (here.task == "feature-extraction") {
        auto format = read_string(body, "encoding_format");
        if (!format) {
            return fail(format);
        }
        if (*format && **format != "float" && **format != "base64") {
            return refuse_field(
                code::invalid_json, "encoding_format", "`encoding_format` is float or base64."
            );
        }
    }
    auto parameters = parameters_of(into.at, body);
    if (!parameters) {
        return fail(parameters);
    }
    into.parameters = std::move(*parameters);

    // The task's own names: nothing else may be taken for them.
    std::erase_if(into.members, [](const member_text& each) {
        return each.name == "inputs" || each.name == "parameters";
    });
    into.inputs = input->where;
    into.members.insert(
        into.members.begin(), {.name = "inputs", .where = input->where, .text = input->text, .list = list}
    );
    if (const auto* model = body.index->find("model")) {
        into.model_at = model->where;
    }
    return {};
}

result<rendering>
render_openai_task(const request& asked, dialect::answer_is kind, std::string_view media_type)
{
    using is = dialect::answer_is;
    const words& here = words_at(asked.at);
    const bool speaks = here.task == "text-to-speech";
    const bool draws = here.task == "text-to-image";
    if (kind == is::bytes && draws) {
        return picture(asked, media_type);
    }
    if (kind == is::events ? !asked.stream : speaks != (kind == is::bytes)) {
        return no_answer(here.task);
    }
    auto shape = render_any(asked, kind, media_type);
    if (shape && kind == is::json && shape->as == rendering::how::as_is) {
        shape->as = rendering::how::reworded;
    }
    return shape;
}

result<std::string> openai_task_answer(const request& asked, std::string json)
{
    const words& here = words_at(asked.at);
    if (here.task == "text-generation") {
        return completion(asked, std::move(json));
    }
    if (here.task == "feature-extraction") {
        return embeddings(asked, json);
    }
    return json;
}

std::optional<std::string> openai_task_events(const request& asked, std::string_view json)
{
    const auto answer = openai_task_answer(asked, std::string(json));
    return answer ? events_of(asked, *answer) : std::nullopt;
}

} // namespace gw::dialects
