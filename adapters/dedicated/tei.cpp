// Text Embeddings Inference: one model of one kind, and a route per kind; the task says which. Its parameters
// stand at the root. A list of two texts is one pair to its classifier, so a list of texts is sent as a list
// of lists. Who asks for embeddings in OpenAI's words is answered by its own route for them.
//   source  huggingface/text-embeddings-inference router/src/http/{server,types}.rs
#include "adapters/engines.hpp"
#include "adapters/openai_routes.hpp"
#include "payload/tasks.hpp"
#include "wire/json_walk.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace gw::adapters::dedicated {
namespace {

using wire::json_string;
using wire::member_of;
using wire::member_view;
using wire::members_of;

struct route
{
    std::string_view task;
    std::string_view path;
};
constexpr std::array routes{
    route{"feature-extraction", "/embed"},
    route{"sentence-similarity", "/similarity"},
    route{"text-classification", "/predict"},
    route{"text-ranking", "/rerank"},
};

std::string no_bytes(std::string_view)
{
    return {};
}

// `parameters` of a comparison have a place of their own there.
constexpr task_style beside{.spelling = no_bytes};
constexpr task_style at_the_root{.spelling = no_bytes, .at = task_style::parameters::root};

// Its parameters under their names there: what pipelines call otherwise, and everything else as it is.
void append_parameters(std::string& to, std::string_view parameters)
{
    for (const member_view& each : members_of(parameters).value_or(std::vector<member_view>{})) {
        if (each.key == "return_documents") {
            to += R"(,"return_text":)" + std::string(each.value);
        } else if (each.key == "function_to_apply") {
            to += each.value == "\"none\"" ? R"(,"raw_scores":true)" : "";
        } else {
            to += "," + json_string(each.key) + ":" + std::string(each.value);
        }
    }
}

// Texts to be classified. One text, or pairs and batches in its own words, stay as they are.
//   errors   wrong_modality: no text
result<encoded> classified(const request& asked)
{
    const member_text* inputs = find_member(asked, "inputs");
    if (inputs == nullptr) {
        return refuse(code::wrong_modality, "`inputs` is missing: a text, or a list of texts.");
    }
    encoded made{.as = encoding::json, .content_type = "application/json"};
    if (inputs->text.empty()) {
        if (inputs->list) {
            return refuse(
                code::too_large,
                "`inputs` is a list with a text that is too long for this upstream to tell apart. Send long "
                "texts one by one."
            );
        }
        append_text(made.body, R"({"inputs":)");
        made.body.pieces.push_back(piece::copy(inputs->where));
    } else {
        std::string texts = R"({"inputs":)";
        const auto elements = wire::elements_of(inputs->text);
        const bool plain =
            elements && !elements->empty() &&
            std::ranges::all_of(*elements, [](std::string_view e) { return e.starts_with('"'); });
        if (plain) {
            for (std::size_t i = 0; i < elements->size(); ++i) {
                texts += (i == 0 ? "[[" : ",[") + std::string((*elements)[i]) + "]";
            }
            texts += "]";
        } else {
            texts += inputs->text;
        }
        append_text(made.body, std::move(texts));
    }
    std::string rest;
    append_parameters(rest, asked.parameters);
    append_text(made.body, rest + "}");
    return made;
}

//   errors   wrong_modality: nothing to compare
result<encoded> ranked(const request& asked)
{
    const auto given = comparison_of(asked);
    if (!given) {
        return std::unexpected(given.error());
    }
    std::string body = R"({"query":)" + given->query + R"(,"texts":)" + given->texts;
    const member_text* inputs = find_member(asked, "inputs");
    for (const member_view& each : members_of(inputs->text).value_or(std::vector<member_view>{})) {
        if (each.key == "return_documents") {
            append_parameters(body, R"({"return_documents":)" + std::string(each.value) + "}");
        }
    }
    append_parameters(body, asked.parameters);
    encoded made{.as = encoding::json, .content_type = "application/json"};
    append_text(made.body, body + "}");
    return made;
}

result<encoded> body_of(const request& asked, const target& to, std::string_view path)
{
    if (asked.raw) {
        return encode_task(asked, to, beside); // says what belongs there
    }
    if (path == "/predict") {
        return classified(asked);
    }
    if (path == "/rerank") {
        return ranked(asked);
    }
    return encode_task(asked, to, path == "/similarity" ? beside : at_the_root);
}

class tei_adapter final : public one_shot
{
protected:
    result<prepared> prepare(const request& asked, const target& to) const override
    {
        const auto known =
            to.task == nullptr ? routes.end() : std::ranges::find(routes, to.task->name, &route::task);
        if (is_chat(asked.at) || known == routes.end()) {
            const bool untold = to.task == nullptr && !is_chat(asked.at);
            return refuse(
                untold ? code::unknown_task : code::unsupported,
                "Upstream " + to.to->name +
                    " (engine tei) answers feature-extraction, sentence-similarity, text-classification and "
                    "text-ranking" +
                    (untold ? ", and the task of this model is not known: say `task:` at the model in the "
                              "policy."
                            : ", each for models of that kind.")
            );
        }
        if (is_openai_task(asked.at)) {
            prepared made = prepare_as_asked(asked, to, to.model);
            made.what.path = openai_path(*to.to, "/embeddings");
            return made;
        }
        auto body = body_of(asked, to, known->path);
        if (!body) {
            return fail(body);
        }
        return prepared{
            .as = body->as,
            .what =
                {
                    .path = path_of(*to.to, known->path),
                    .content_type = std::move(body->content_type),
                    .accept = "application/json",
                    .body = std::move(body->body),
                },
            .answer = {.wanted = expects::json, .stream = asked.stream, .task = to.task},
        };
    }
};

} // namespace

const adapter& tei()
{
    static const tei_adapter only;
    return only;
}

} // namespace gw::adapters::dedicated
