// A server of the operator's own: the body is the policy's template, the answer stands where the policy says.
#include "adapters/engines.hpp"
#include "adapters/one_shot.hpp"
#include "payload/tasks.hpp"
#include "wire/json_walk.hpp"

#include <array>

namespace gw::adapters::dedicated {
namespace {

using config::template_part;

std::unexpected<failure> no_payload(const target& to, std::string_view placeholder)
{
    return refuse(
        code::wrong_modality,
        "Upstream " + to.to->name + " puts the payload at " + std::string(placeholder) +
            ", and this request has none: send a file's bytes, or {\"inputs\":{\"base64\":\"...\"}}."
    );
}

// `inputs` as JSON: the client's own value, or its payload as a base64 string.
result<void> append_inputs(body_plan& body, const request& asked, const target& to)
{
    if (asked.binary) {
        append_base64(body, asked);
        return {};
    }
    if (!asked.inputs) {
        return refuse(
            code::invalid_json, "Upstream " + to.to->name + " needs `inputs`, and the body has none."
        );
    }
    body.pieces.push_back(piece::copy(*asked.inputs));
    return {};
}

void append_parameters(body_plan& body, const request& asked)
{
    const member_text* given = find_member(asked, "parameters");
    if (given != nullptr && given->text.empty()) { // too long to be held
        body.pieces.push_back(piece::copy(given->where));
        return;
    }
    append_text(body, asked.parameters.empty() ? "{}" : asked.parameters);
}

result<void> append(body_plan& body, const template_part& part, const request& asked, const target& to)
{
    switch (part.is) {
    case template_part::what::literal:
        append_text(body, part.text);
        return {};
    case template_part::what::inputs:
        return append_inputs(body, asked, to);
    case template_part::what::base64:
        if (!asked.binary) {
            return no_payload(to, "$base64");
        }
        append_base64(body, asked);
        return {};
    case template_part::what::data_url: {
        if (!asked.binary) {
            return no_payload(to, "$data_url");
        }
        const std::string& type = asked.binary->media_type;
        append_base64(body, asked, "data:" + (type.empty() ? "application/octet-stream" : type) + ";base64,");
        return {};
    }
    case template_part::what::parameters:
        append_parameters(body, asked);
        return {};
    case template_part::what::model:
        append_text(body, wire::json_string(to.model));
        return {};
    }
    return {};
}

// Without a template: what handlers of the inference toolkit expect.
const std::vector<template_part>& usual_template()
{
    static const std::vector<template_part> parts{
        {template_part::what::literal, R"({"inputs":)"},
        {template_part::what::inputs, {}},
        {template_part::what::literal, R"(,"parameters":)"},
        {template_part::what::parameters, {}},
        {template_part::what::literal, "}"},
    };
    return parts;
}

class custom_adapter final : public one_shot
{
protected:
    result<prepared> prepare(const request& asked, const target& to) const override
    {
        if (wants_chat(asked, to)) {
            return refuse(
                code::unsupported,
                "Upstream " + to.to->name + " (engine custom) has no chat route: chats need `engine: openai`."
            );
        }
        body_plan body;
        const auto& parts = to.to->request.empty() ? usual_template() : to.to->request;
        for (const template_part& part : parts) {
            if (auto done = append(body, part, asked, to); !done) {
                return fail(done);
            }
        }
        const bool bytes = to.task != nullptr && to.task->binary_output();
        answer_plan answer{
            .wanted = bytes ? expects::bytes : expects::anything,
            .stream = asked.stream,
            .must_be_json = true,
            .task = to.task,
        };
        if (!to.to->answer.empty()) {
            answer.pointer = to.to->answer;
        }
        return prepared{
            .as = encoding::custom_template,
            .what =
                {
                    .path = path_of(*to.to, ""),
                    .content_type = "application/json",
                    .accept = bytes ? "" : "application/json",
                    .body = std::move(body),
                    .expects_stream = asked.stream,
                },
            .answer = std::move(answer),
        };
    }
};

} // namespace

const adapter& custom()
{
    static const custom_adapter only;
    return only;
}

} // namespace gw::adapters::dedicated
