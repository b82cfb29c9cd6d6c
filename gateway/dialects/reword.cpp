#include "dialects/reword.hpp"

#include "payload/tasks.hpp"
#include "wire/json_walk.hpp"

#include <array>
#include <charconv>
#include <compare>
#include <string_view>
#include <vector>

namespace gw::dialects {
namespace {

using wire::elements_of;
using wire::member_of;
using wire::members_of;
using shape = answer_shape;

struct version
{
    int major = 0;
    int minor = 0;
    int patch = 0;
    auto operator<=>(const version&) const = default;
};

// The version behind `name/` in a User-Agent; 0.0.0: it is another client.
version version_of(std::string_view user_agent, std::string_view name)
{
    const std::size_t at = user_agent.find(name);
    if (at == std::string_view::npos) {
        return {};
    }
    std::string_view rest = user_agent.substr(at + name.size());
    std::array<int, 3> numbers{};
    for (int& each : numbers) {
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), each);
        if (error != std::errc{}) {
            break;
        }
        rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
        if (!rest.starts_with('.')) {
            break;
        }
        rest.remove_prefix(1);
    }
    return {numbers[0], numbers[1], numbers[2]};
}

bool is_javascript(const request& asked)
{
    return version_of(asked.user_agent, "@huggingface/inference/") > version{};
}

// Those read zero-shot answers as two lists.
bool wants_two_lists(const request& asked)
{
    const version python = version_of(asked.user_agent, "hf_hub/");
    return python > version{} && python < version{1, 2, 0};
}

// Those take one answer as it is, not in a list.
bool wants_one_alone(const request& asked)
{
    return version_of(asked.user_agent, "@huggingface/inference/") >= version{3, 7, 1};
}

std::string nested(std::string json)
{
    const auto elements = elements_of(json);
    if (!elements || (!elements->empty() && elements->front().starts_with('['))) {
        return json;
    }
    return "[" + json + "]";
}

std::string two_lists(const request& asked, std::string json)
{
    const auto elements = elements_of(json);
    if (!elements) {
        return json;
    }
    std::string labels;
    std::string scores;
    for (const std::string_view each : *elements) {
        const std::string_view label = member_of(each, "label");
        const std::string_view score = member_of(each, "score");
        if (label.empty() || score.empty()) {
            return json;
        }
        labels += (labels.empty() ? "" : ",") + std::string(label);
        scores += (scores.empty() ? "" : ",") + std::string(score);
    }
    const member_text* inputs = find_member(asked, "inputs");
    const bool text = inputs != nullptr && inputs->text.starts_with('"');
    return R"({"sequence":)" + (text ? std::string(inputs->text) : R"("")") + R"(,"labels":[)" + labels +
           R"(],"scores":[)" + scores + "]}";
}

std::string alone(std::string json)
{
    const auto elements = elements_of(json);
    return elements && elements->size() == 1 ? std::string(elements->front()) : json;
}

// `entity_group` beside `entity`.
std::string grouped(std::string json)
{
    const auto elements = elements_of(json);
    if (!elements) {
        return json;
    }
    std::string out = "[";
    for (const std::string_view each : *elements) {
        const std::string_view entity = member_of(each, "entity");
        const bool lacks = !entity.empty() && member_of(each, "entity_group").empty();
        out += out.size() == 1 ? "" : ",";
        out += lacks ? R"({"entity_group":)" + std::string(entity) + "," + std::string(each.substr(1))
                     : std::string(each);
    }
    return out + "]";
}

std::string with_aggregator(std::string json)
{
    const auto members = members_of(json);
    const std::size_t end = json.rfind('}');
    if (!members || members->empty() || !member_of(json, "aggregator").empty()) {
        return json;
    }
    return json.substr(0, end) + R"(,"aggregator":"NONE"})";
}

} // namespace

bool rewords(const request& asked)
{
    if (asked.task == nullptr || asked.stream) {
        return false;
    }
    const task_info& task = *asked.task;
    return task.nested_for_hf || (task.shape == shape::zero_shot_scores && wants_two_lists(asked)) ||
           (task.alone_for_js && wants_one_alone(asked)) ||
           ((task.shape == shape::token_labels || task.shape == shape::table_answer) && is_javascript(asked));
}

std::string reworded(const request& asked, std::string json)
{
    if (!rewords(asked)) {
        return json;
    }
    const task_info& task = *asked.task;
    if (task.nested_for_hf) {
        return nested(std::move(json));
    }
    if (task.alone_for_js) {
        return alone(std::move(json));
    }
    switch (task.shape) {
    case shape::zero_shot_scores:
        return two_lists(asked, std::move(json));
    case shape::token_labels:
        return grouped(std::move(json));
    default:
        return with_aggregator(std::move(json));
    }
}

} // namespace gw::dialects
