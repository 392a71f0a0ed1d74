import lz4.frame

from lockstep.models.model_file import read_pipeline, write_pipeline


def test_the_file_stays_open_until_its_reader_is_freed(tmp_path, monkeypatch):
    """Python 3.13 prints what lz4's reader raises when its file is closed before it."""
    closed = []

    def flush(reader, flush=lz4.frame.LZ4FrameFile.flush):
        closed.append(reader._fp.closed)
        flush(reader)

    path = tmp_path / "model.joblib"
    write_pipeline(path, {"weights": [1.5]})
    monkeypatch.setattr(lz4.frame.LZ4FrameFile, "flush", flush)
    assert read_pipeline(path) == {"weights": [1.5]}
    assert closed
    assert not any(closed)
