// Bodies of tasks without a payload: the same parts, each where an upstream looks for it.
#include "adapters/encode.hpp"
#include "wire/json_walk.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace gw::adapters {
namespace {

using wire::json_string;
using wire::member_view;
using wire::members_of;

// Members that are ours, or that only say something to a gateway.
constexpr std::array<std::string_view, 2> addressed{"model", "task"};
// Members that stand at the root wherever they are understood.
constexpr std::array<std::string_view, 4> of_the_root{"inputs", "parameters", "stream", "options"};

bool among(std::span<const std::string_view> names, std::string_view name)
{
    return std::ranges::find(names, name) != names.end();
}

bool is_given(const member_text* member)
{
    return member != nullptr && member->text != "null";
}

void append_value(body_plan& to, const member_text& member)
{
    if (member.text.empty()) { // too long to be held
        to.pieces.push_back(piece::copy(member.where));
    } else {
        append_text(to, std::string(member.text));
    }
}

// What has to move.
struct moves
{
    bool into_inputs = false;      // members of the root that are the input
    bool to_root = false;          // parameters
    bool under_parameters = false; // members of the root that are parameters
    bool rename_question = false;
};

class arranger
{
public:
    arranger(const request& asked, const task_info& task, const task_style& style)
        : asked_(asked), task_(task), style_(style)
    {
    }

    std::optional<body_plan> plan()
    {
        if (!find()) {
            return std::nullopt;
        }
        append_text(out_, "{");
        if (does_.into_inputs) {
            key("inputs");
            inputs_of_root();
        }
        for (const member_text& each : asked_.members) {
            member(each);
        }
        if (!parameters_.empty()) {
            key("parameters");
            append_text(out_, "{" + parameters_ + "}");
        }
        append_text(out_, "}");
        return std::move(out_);
    }

private:
    bool find()
    {
        const bool has_inputs = is_given(find_member(asked_, "inputs"));
        for (const member_text& each : asked_.members) {
            const bool input = among(task_.root_keys, each.name);
            does_.into_inputs = does_.into_inputs || (input && !has_inputs && !style_.takes_root_table);
            const bool other = !input && !among(addressed, each.name) && !among(of_the_root, each.name);
            does_.under_parameters = does_.under_parameters || (other && task_.root_parameters &&
                                                                style_.at == task_style::parameters::beside);
        }
        if (style_.takes_root_table && !has_inputs && !has_root_table()) {
            does_.into_inputs = std::ranges::any_of(asked_.members, [&](const member_text& each) {
                return among(task_.root_keys, each.name);
            });
        }
        does_.to_root = !asked_.parameters.empty() &&
                        (style_.at == task_style::parameters::root ||
                         (style_.at == task_style::parameters::by_task && task_.root_parameters));
        does_.rename_question =
            task_.text_key == "query" && task_.shape == answer_shape::table_answer && says_question();
        return does_.into_inputs || does_.to_root || does_.under_parameters || does_.rename_question;
    }

    bool has_root_table() const
    {
        return task_.text_key.empty() &&
               (is_given(find_member(asked_, "table")) || is_given(find_member(asked_, "data")));
    }

    // A table is asked by `query` there; Hugging Face's specification says `question`.
    bool says_question() const
    {
        const member_text* inputs = find_member(asked_, "inputs");
        return inputs != nullptr && !wire::member_of(inputs->text, "question").empty() &&
               wire::member_of(inputs->text, "query").empty();
    }

    void key(std::string_view name)
    {
        append_text(out_, (first_ ? "" : ",") + json_string(name) + ":");
        first_ = false;
    }

    void inputs_of_root()
    {
        append_text(out_, "{");
        bool first = true;
        for (const member_text& each : asked_.members) {
            if (!among(task_.root_keys, each.name) || !is_given(&each)) {
                continue;
            }
            const bool renamed = task_.text_key == "query" && each.name == "question" &&
                                 !is_given(find_member(asked_, "query"));
            append_text(out_, (first ? "" : ",") + json_string(renamed ? "query" : each.name) + ":");
            first = false;
            append_value(out_, each);
        }
        append_text(out_, "}");
    }

    void member(const member_text& each)
    {
        if (among(addressed, each.name) || (does_.into_inputs && among(task_.root_keys, each.name))) {
            return;
        }
        if (each.name == "inputs") {
            if (does_.into_inputs) {
                return; // null
            }
            key("inputs");
            if (does_.rename_question) {
                append_text(out_, with_query(each.text));
            } else {
                append_value(out_, each);
            }
            return;
        }
        if (each.name == "parameters") {
            const auto members = members_of(asked_.parameters);
            if (does_.to_root && members) {
                for (const member_view& one : *members) {
                    if (find_member(asked_, one.key) == nullptr) {
                        key(one.key);
                        append_text(out_, std::string(one.value));
                    }
                }
            } else if (does_.under_parameters && members) {
                for (const member_view& one : *members) {
                    parameter(one.key, one.value);
                }
            } else {
                key("parameters");
                append_value(out_, each);
            }
            return;
        }
        const bool moves = does_.under_parameters && !among(of_the_root, each.name) && !each.text.empty();
        if (moves) {
            if (wire::member_of(asked_.parameters, each.name).empty()) {
                parameter(each.name, each.text);
            }
            return;
        }
        key(each.name);
        append_value(out_, each);
    }

    void parameter(std::string_view name, std::string_view value)
    {
        parameters_ += (parameters_.empty() ? "" : ",") + json_string(name) + ":" + std::string(value);
    }

    static std::string with_query(std::string_view inputs)
    {
        std::string made = "{";
        for (const member_view& each : members_of(inputs).value_or(std::vector<member_view>{})) {
            const std::string_view name = each.key == "question" ? "query" : std::string_view(each.key);
            made += (made.size() == 1 ? "" : ",") + json_string(name) + ":" + std::string(each.value);
        }
        return made + "}";
    }

    const request& asked_;
    const task_info& task_;
    const task_style& style_;
    moves does_;
    body_plan out_;
    std::string parameters_; // members
    bool first_ = true;
};

} // namespace

std::optional<body_plan> rearranged(const request& asked, const task_info& task, const task_style& style)
{
    return asked.members.empty() ? std::nullopt : arranger(asked, task, style).plan();
}

result<encoded> in_task_words(const request& asked, const target& to, const task_style& style)
{
    const member_text* inputs = find_member(asked, "inputs");
    const std::string_view text = inputs->text;
    const bool numbers = text.starts_with('[') && !text.contains('"') &&
                         text.find_first_of("0123456789") != std::string_view::npos;
    if (numbers) {
        return refuse(
            code::wrong_modality,
            "Upstream " + to.to->name +
                " takes text, not token numbers. Send the text, or a list of texts (langchain: "
                "check_embedding_ctx_length=False)."
        );
    }
    encoded made{.as = encoding::json, .content_type = "application/json"};
    append_text(made.body, R"({"inputs":)");
    if (text.empty()) { // too long to be held
        made.body.pieces.push_back(piece::copy(inputs->where));
    } else {
        append_text(made.body, std::string(text));
    }
    const bool at_root = style.at == task_style::parameters::root ||
                         (style.at == task_style::parameters::by_task && to.task->root_parameters);
    std::string rest;
    for (const auto& each : members_of(asked.parameters).value_or(std::vector<member_view>{})) {
        rest += (at_root || !rest.empty() ? "," : "") + json_string(each.key) + ":" + std::string(each.value);
    }
    append_text(made.body, at_root || rest.empty() ? rest + "}" : R"(,"parameters":{)" + rest + "}}");
    return made;
}

result<comparison> comparison_of(const request& asked)
{
    const auto unusable = [] {
        return refuse(
            code::wrong_modality,
            R"(text-ranking takes {"inputs":{"query":"...","texts":["...","..."]}}, or a list of pairs that share their first text.)"
        );
    };
    const member_text* inputs = find_member(asked, "inputs");
    if (inputs == nullptr || inputs->text.empty()) {
        return unusable();
    }
    std::string query(wire::member_of(inputs->text, "query"));
    std::string texts(wire::member_of(inputs->text, "texts"));
    if (const auto pairs = wire::elements_of(inputs->text)) {
        texts = "[";
        for (const std::string_view each : *pairs) {
            const auto pair = wire::elements_of(each);
            if (!pair || pair->size() != 2 || (!query.empty() && query != pair->front())) {
                return unusable();
            }
            query = pair->front();
            texts += (texts.size() == 1 ? "" : ",") + std::string(pair->back());
        }
        texts += "]";
    }
    if (query.empty() || texts.empty()) {
        return unusable();
    }
    return comparison{std::move(query), std::move(texts)};
}

} // namespace gw::adapters
