#include "hub/read.hpp"

#include "payload/tasks.hpp"
#include "wire/json_scan.hpp"
#include "wire/target.hpp"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <optional>

namespace gw::hub {
namespace {

namespace json = simdjson::ondemand;

constexpr std::size_t most_listed = 100; // Spaces, tags, providers: what is kept of a list
constexpr std::size_t longest_word = 256;

// What the answer holds, before anything follows from it.
struct facts
{
    std::string id;
    std::string pipeline_tag;
    std::string library;
    std::vector<std::string> tags;
    std::vector<std::string> spaces;
    std::vector<std::string> architectures;
    std::vector<provider_way> providers;
    std::string transformers_class; // AutoModelFor...
    std::string transformers_task;
    std::string gguf_architecture;
    std::string gated;
    std::size_t gguf_files = 0;
    bool has_transformers = false;
    bool has_gguf = false;
    bool has_handler = false;
    bool has_onnx = false;
    bool warm = false;
    bool disabled = false;
    bool own_code = false;

    [[nodiscard]] bool tagged(std::string_view tag) const
    {
        return std::ranges::find(tags, tag) != tags.end();
    }
};

std::string in_ticks(std::string_view text)
{
    return '`' + std::string(text) + '`';
}

// A word of the Hub's: it may be shown, and go into a path or a body. Anything else counts as not said.
bool is_word(std::string_view text)
{
    return !text.empty() && text.size() <= longest_word && std::ranges::all_of(text, [](char c) {
        return c > ' ' && c <= '~' && c != '"' && c != '\\' && c != '`';
    });
}

std::string word(json::value from)
{
    std::string_view text;
    return from.get_string().get(text) == simdjson::SUCCESS && is_word(text) ? std::string(text)
                                                                             : std::string();
}

// Calls f(key, value) for each member; nothing for anything but an object.
template <class F>
void members(json::value from, F f)
{
    json::object all;
    if (from.get_object().get(all) != simdjson::SUCCESS) {
        return;
    }
    for (auto each : all) {
        json::field field;
        std::string_view key;
        if (std::move(each).get(field) != simdjson::SUCCESS) {
            return;
        }
        if (field.unescaped_key().get(key) == simdjson::SUCCESS) {
            f(std::string(key), field.value());
        }
    }
}

template <class F>
void items(json::value from, F f)
{
    json::array all;
    if (from.get_array().get(all) != simdjson::SUCCESS) {
        return;
    }
    for (auto each : all) {
        json::value value;
        if (std::move(each).get(value) != simdjson::SUCCESS) {
            return;
        }
        f(value);
    }
}

void words(json::value from, std::vector<std::string>& into)
{
    items(from, [&into](json::value each) {
        std::string text = word(each);
        if (!text.empty() && into.size() < most_listed) {
            into.push_back(std::move(text));
        }
    });
}

// One entry of inferenceProviderMapping: in a list it names its provider itself.
void read_provider(std::string name, json::value from, facts& into)
{
    provider_way made{.provider = std::move(name)};
    std::string status;
    members(from, [&](std::string_view key, json::value value) {
        if (key == "status") {
            status = word(value);
        } else if (key == "providerId") {
            made.id = word(value);
        } else if (key == "task") {
            made.task = word(value);
        } else if (key == "provider") {
            made.provider = word(value);
        }
    });
    // Its own clients refuse an entry that lacks one of the three.
    if (!is_word(made.provider) || made.id.empty() || made.task.empty() || status.empty() ||
        into.providers.size() >= most_listed) {
        return;
    }
    made.state = status == "live"      ? provider_state::live
                 : status == "staging" ? provider_state::staging
                                       : provider_state::error;
    into.providers.push_back(std::move(made));
}

void read_mapping(json::value from, facts& into)
{
    json::json_type type{};
    if (from.type().get(type) != simdjson::SUCCESS) {
        return;
    }
    if (type == json::json_type::array) {
        items(from, [&into](json::value each) { read_provider({}, each, into); });
        return;
    }
    members(from, [&into](const std::string& name, json::value each) { read_provider(name, each, into); });
}

void read_transformers(json::value from, facts& into)
{
    members(from, [&into](std::string_view key, json::value value) {
        into.has_transformers = true;
        if (key == "auto_model") {
            into.transformers_class = word(value);
        } else if (key == "pipeline_tag") {
            into.transformers_task = word(value);
        } else if (key == "custom_class") {
            into.own_code = into.own_code || !word(value).empty();
        }
    });
}

void read_siblings(json::value from, facts& into)
{
    items(from, [&into](json::value each) {
        members(each, [&into](std::string_view key, json::value value) {
            std::string_view name;
            if (key != "rfilename" || value.get_string().get(name) != simdjson::SUCCESS) {
                return;
            }
            into.gguf_files += name.ends_with(".gguf") ? 1 : 0;
            into.has_handler = into.has_handler || name == "handler.py";
            into.has_onnx = into.has_onnx || (name.starts_with("onnx/") && name.ends_with(".onnx"));
        });
    });
}

void read_member(std::string_view key, json::value value, facts& into)
{
    bool yes = false;
    if (key == "id") {
        into.id = word(value);
    } else if (key == "pipeline_tag") {
        into.pipeline_tag = word(value);
    } else if (key == "library_name") {
        into.library = word(value);
    } else if (key == "tags") {
        words(value, into.tags);
    } else if (key == "spaces") {
        words(value, into.spaces);
    } else if (key == "inference") {
        into.warm = word(value) == "warm";
    } else if (key == "inferenceProviderMapping") {
        read_mapping(value, into);
    } else if (key == "transformersInfo") {
        read_transformers(value, into);
    } else if (key == "siblings") {
        read_siblings(value, into);
    } else if (key == "config") {
        members(value, [&into](std::string_view name, json::value inside) {
            if (name == "architectures") {
                words(inside, into.architectures);
            } else if (name == "auto_map") {
                members(inside, [&into](std::string_view, json::value) { into.own_code = true; });
            }
        });
    } else if (key == "gguf") {
        members(value, [&into](std::string_view name, json::value inside) {
            into.has_gguf = true;
            if (name == "architecture") {
                into.gguf_architecture = word(inside);
            }
        });
    } else if (key == "gated") {
        if (value.get_bool().get(yes) == simdjson::SUCCESS) {
            into.gated = yes ? "manual" : "";
        } else {
            into.gated = word(value);
        }
    } else if (key == "disabled") {
        into.disabled = value.get_bool().get(yes) == simdjson::SUCCESS && yes;
    }
}

// ---- what follows from it ----

// The task of a model class, by the end of its name.
std::string_view task_of_class(std::string_view name)
{
    struct row
    {
        std::string_view end;
        std::string_view task;
    };
    static constexpr std::array rows{
        row{"ForSequenceClassification", "text-classification"},
        row{"ForTokenClassification", "token-classification"},
        row{"ForQuestionAnswering", "question-answering"},
        row{"ForMaskedLM", "fill-mask"},
        row{"ForCausalLM", "text-generation"},
        row{"LMHeadModel", "text-generation"},
        row{"ForImageClassification", "image-classification"},
        row{"ForObjectDetection", "object-detection"},
        row{"ForSemanticSegmentation", "image-segmentation"},
        row{"ForDepthEstimation", "depth-estimation"},
        row{"ForAudioClassification", "audio-classification"},
        row{"ForVideoClassification", "video-classification"},
        row{"ForCTC", "automatic-speech-recognition"},
        row{"ForSpeechSeq2Seq", "automatic-speech-recognition"},
    };
    const auto found =
        std::ranges::find_if(rows, [name](const row& each) { return name.ends_with(each.end); });
    return found != rows.end() ? found->task : std::string_view();
}

void tell_task(const facts& of, ways& into)
{
    const auto take = [&into](std::string_view said, std::string why) {
        const auto* known = payloads::find_task(said);
        if (known != nullptr) {
            into.task = known->name;
            into.task_why = std::move(why);
        }
        return known != nullptr;
    };
    if (take(of.pipeline_tag, "pipeline_tag") ||
        take(of.transformers_task, "transformersInfo.pipeline_tag")) {
        return;
    }
    for (const auto& each : of.architectures) {
        if (take(task_of_class(each), "config.architectures: " + each)) {
            return;
        }
    }
    for (const auto& each : of.providers) {
        if (take(each.task, "the task that " + each.provider + " serves it for")) {
            return;
        }
    }
    into.task_why = of.pipeline_tag.empty()
                        ? "neither pipeline_tag nor transformersInfo nor config say one"
                        : "pipeline_tag " + in_ticks(of.pipeline_tag) + " is no task that this version knows";
}

bool is_embedding_task(std::string_view task)
{
    return task == "feature-extraction" || task == "sentence-similarity" || task == "text-ranking";
}

// Architectures that Text Embeddings Inference loads.
bool tei_loads(std::string_view architecture)
{
    static constexpr auto families = std::to_array<std::string_view>(
        {"Bert",
         "Camembert",
         "DistilBert",
         "Gemma3",
         "JinaBert",
         "MPNet",
         "Mistral",
         "ModernBert",
         "NewModel",
         "NomicBert",
         "Qwen2",
         "Qwen3",
         "Roberta",
         "XLMRoberta"}
    );
    return std::ranges::any_of(families, [architecture](std::string_view each) {
        return architecture.starts_with(each);
    });
}

void tell_libraries(const facts& of, ways& into)
{
    const std::string library = of.library.empty() ? "it names no library" : "its library is " + of.library;

    auto& python = into.transformers;
    python.yes = of.library == "transformers" || of.has_transformers;
    python.why = of.library == "transformers" ? "library transformers"
                 : python.yes                 ? "transformersInfo"
                                              : library;
    if (python.yes && !of.transformers_class.empty()) {
        python.why += ": " + of.transformers_class;
    }
    if (python.yes && of.own_code) {
        python.why += "; code of its own, so it needs trust_remote_code";
    }

    auto& js = into.transformers_js;
    const bool exported = of.tagged("onnx") && of.has_onnx;
    js.yes = of.tagged("transformers.js") || exported;
    js.why = of.tagged("transformers.js") ? "tag transformers.js"
             : exported                   ? "tag onnx and files onnx/*.onnx"
                                          : "no tag transformers.js, no ONNX files";

    auto& gguf = into.llama_cpp;
    gguf.yes = of.has_gguf || of.gguf_files > 0;
    gguf.why = "no GGUF files";
    if (of.gguf_files > 0) {
        gguf.why = std::to_string(of.gguf_files) + (of.gguf_files == 1 ? " GGUF file" : " GGUF files");
    } else if (gguf.yes) {
        gguf.why = "GGUF metadata";
    }
    if (!of.gguf_architecture.empty()) {
        gguf.why += ", architecture " + of.gguf_architecture;
    }

    auto& tei = into.tei;
    const auto loads = std::ranges::find_if(of.architectures, tei_loads);
    if (of.tagged("text-embeddings-inference")) {
        tei = {.yes = true, .why = "tag text-embeddings-inference"};
    } else if (!is_embedding_task(into.task)) {
        tei.why = "no embedding model";
    } else if (loads != of.architectures.end()) {
        tei = {.yes = true, .why = into.task + " with architecture " + *loads};
    } else {
        tei.why = of.architectures.empty() ? "its architecture is not said"
                                           : "architecture " + of.architectures.front() + " is none it loads";
    }
}

// The fittest first: an engine made for this kind of model before the one for all.
void tell_engines(const facts& of, ways& into)
{
    const auto add = [&into](std::string_view engine, std::string why) {
        into.engines.push_back({.engine = std::string(engine), .why = std::move(why)});
    };
    if (of.has_handler || of.tagged("endpoints-template")) {
        add("toolkit",
            of.has_handler ? "its own handler.py" : "tag endpoints-template: a handler of its own");
    }
    if (into.tei.yes) {
        add("tei", into.tei.why);
    }
    if (of.tagged("text-generation-inference")) {
        add("tgi", "tag text-generation-inference");
    }
    if (of.tagged("vllm")) {
        add("openai", "tag vllm");
    }
    // GGUF files beside those of another library are a copy for llama.cpp; alone they are the model.
    const bool supported =
        of.library == "transformers" || of.library == "diffusers" || of.library == "sentence-transformers";
    if (into.llama_cpp.yes && !supported) {
        add("openai", "llama.cpp: " + into.llama_cpp.why);
    }
    const bool has_one = !into.engines.empty() && into.engines.front().engine == "toolkit";
    const bool says = of.tagged("endpoints_compatible") && (supported || !into.llama_cpp.yes);
    if (!has_one && (says || supported)) {
        add("toolkit", says ? "tag endpoints_compatible" : "library " + of.library);
    }
    if (into.llama_cpp.yes && supported) {
        add("openai", "llama.cpp: " + into.llama_cpp.why);
    }
}

ways follow(facts of, std::string_view asked)
{
    ways made;
    made.model = of.id.empty() ? std::string(asked) : std::move(of.id);
    tell_task(of, made);
    made.providers = std::move(of.providers);
    if (made.providers.empty() && of.warm) { // the older way to say it
        made.providers.push_back(
            {.provider = "hf-inference",
             .state = provider_state::live,
             .task = made.task.empty() ? of.pipeline_tag : made.task,
             .id = made.model}
        );
    }
    made.spaces = std::move(of.spaces);
    made.gated = std::move(of.gated);
    made.disabled = of.disabled;
    made.own_code = of.own_code;
    tell_libraries(of, made);
    tell_engines(of, made);
    return made;
}

// Grammar first: simdjson's On-Demand looks only at what is visited.
result<void> check(std::string_view text)
{
    wire::json_limits limits;
    limits.plain_bytes = longest_answer;
    limits.long_bytes = longest_answer;
    wire::json_scanner scanner(limits);
    auto fed = scanner.feed(text);
    if (!fed) {
        return fed;
    }
    auto index = scanner.finish();
    if (!index) {
        return fail(index);
    }
    return index->root == wire::json_kind::object ? result<void>() : std::unexpected(failure{});
}

} // namespace

std::string model_target(std::string_view model)
{
    std::string path = "/api/models/";
    const std::size_t slash = model.find('/');
    path += wire::percent_encode_segment(model.substr(0, slash));
    if (slash != std::string_view::npos) {
        path += '/' + wire::percent_encode_segment(model.substr(slash + 1));
    }
    char before = '?';
    for (const std::string_view field :
         {"inferenceProviderMapping",
          "inference",
          "pipeline_tag",
          "library_name",
          "tags",
          "transformersInfo",
          "config",
          "siblings",
          "gated",
          "gguf",
          "spaces",
          "disabled"}) {
        path += before;
        path += "expand=";
        path += field;
        before = '&';
    }
    return path;
}

std::string runtime_target(std::string_view space)
{
    const std::size_t slash = space.find('/');
    std::string path = "/api/spaces/" + wire::percent_encode_segment(space.substr(0, slash));
    if (slash != std::string_view::npos) {
        path += '/' + wire::percent_encode_segment(space.substr(slash + 1));
    }
    return path + "/runtime";
}

result<ways> read_ways(std::string_view text, std::string_view asked)
{
    if (!check(text)) {
        return std::unexpected(failure{
            .what = code::unavailable,
            .from = origin::upstream,
            .text = "the Hub's answer is not the JSON object that it should be"
        });
    }
    const simdjson::padded_string padded(text);
    json::parser parser;
    json::document document;
    json::value root;
    facts found;
    if (parser.iterate(padded).get(document) == simdjson::SUCCESS &&
        document.get_value().get(root) == simdjson::SUCCESS) {
        members(root, [&found](std::string_view key, json::value value) { read_member(key, value, found); });
    }
    return follow(std::move(found), asked);
}

std::string read_stage(std::string_view text)
{
    std::string stage;
    if (!check(text)) {
        return stage;
    }
    const simdjson::padded_string padded(text);
    json::parser parser;
    json::document document;
    json::value root;
    if (parser.iterate(padded).get(document) == simdjson::SUCCESS &&
        document.get_value().get(root) == simdjson::SUCCESS) {
        members(root, [&stage](std::string_view key, json::value value) {
            if (key == "stage") {
                stage = word(value);
            }
        });
    }
    return stage;
}

} // namespace gw::hub
